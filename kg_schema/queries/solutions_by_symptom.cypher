// name: solutions_by_symptom
// kind: how to mend a fault of a product
// param symptom_id: string 1..80
// param product_id: string? 1..80  keeps the solutions that apply to it; null keeps all
// param limit: integer 1..20  solutions
// returns: facts
// yields: HAS_SYMPTOM, description, INDICATES, RESOLVED_BY by priority, summary, APPLIES_TO,
// yields: HAS_STEP in order, text of each step
MATCH (p:Product {id: $product_id})-[r:HAS_SYMPTOM]->(y:Symptom {id: $symptom_id})
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'HAS_SYMPTOM' AS predicate, 'Symptom' AS object_label, y.id AS object_id, y.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})
UNWIND keys(y) AS key
WITH y, key
WHERE NOT key IN ['id', 'name', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id']
  AND toStringOrNull(y[key]) IS NOT NULL
RETURN 'Symptom' AS subject_label, y.id AS subject_id, y.name AS subject_name,
  key AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(y[key]) AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(y.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})-[r:INDICATES]->(e:ErrorCode)
WITH y, r, e ORDER BY e.id LIMIT $limit
RETURN 'Symptom' AS subject_label, y.id AS subject_id, y.name AS subject_name,
  'INDICATES' AS predicate, 'ErrorCode' AS object_label, e.id AS object_id, e.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})-[r:RESOLVED_BY]->(s:Solution)
WHERE $product_id IS NULL OR NOT EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product) }
  OR EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product {id: $product_id}) }
WITH y, r, s ORDER BY r.priority, s.id LIMIT $limit
RETURN 'Symptom' AS subject_label, y.id AS subject_id, y.name AS subject_name,
  'RESOLVED_BY' AS predicate, 'Solution' AS object_label, s.id AS object_id, s.name AS object_name,
  null AS value, r.priority AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})-[r:RESOLVED_BY]->(s:Solution)
WHERE $product_id IS NULL OR NOT EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product) }
  OR EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product {id: $product_id}) }
WITH y, r, s ORDER BY r.priority, s.id LIMIT $limit
RETURN 'Solution' AS subject_label, s.id AS subject_id, s.name AS subject_name,
  'summary' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  s.summary AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(s.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})-[r:RESOLVED_BY]->(s:Solution)
WHERE $product_id IS NULL OR NOT EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product) }
  OR EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product {id: $product_id}) }
WITH y, r, s ORDER BY r.priority, s.id LIMIT $limit
MATCH (s)-[a:APPLIES_TO]->(p:Product {id: $product_id})
RETURN 'Solution' AS subject_label, s.id AS subject_id, s.name AS subject_name,
  'APPLIES_TO' AS predicate, 'Product' AS object_label, p.id AS object_id, p.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(a.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})-[r:RESOLVED_BY]->(s:Solution)
WHERE $product_id IS NULL OR NOT EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product) }
  OR EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product {id: $product_id}) }
WITH y, r, s ORDER BY r.priority, s.id LIMIT $limit
MATCH (s)-[a:APPLIES_TO]->(p:Product {id: $product_id})
WITH s, a WHERE a.firmware IS NOT NULL
RETURN 'Solution' AS subject_label, s.id AS subject_id, s.name AS subject_name,
  'firmware' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  a.firmware AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(a.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})-[r:RESOLVED_BY]->(s:Solution)
WHERE $product_id IS NULL OR NOT EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product) }
  OR EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product {id: $product_id}) }
WITH y, r, s ORDER BY r.priority, s.id LIMIT $limit
MATCH (s)-[h:HAS_STEP]->(t:Step)
RETURN 'Solution' AS subject_label, s.id AS subject_id, s.name AS subject_name,
  'HAS_STEP' AS predicate, 'Step' AS object_label, t.id AS object_id, t.name AS object_name,
  null AS value, h.order AS rank,
  reduce(said = '', one IN coalesce(h.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})-[r:RESOLVED_BY]->(s:Solution)
WHERE $product_id IS NULL OR NOT EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product) }
  OR EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product {id: $product_id}) }
WITH y, r, s ORDER BY r.priority, s.id LIMIT $limit
MATCH (s)-[h:HAS_STEP]->(t:Step)
RETURN 'Step' AS subject_label, t.id AS subject_id, t.name AS subject_name,
  'text' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  t.text AS value, h.order AS rank,
  reduce(said = '', one IN coalesce(t.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})-[r:RESOLVED_BY]->(s:Solution)
WHERE $product_id IS NULL OR NOT EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product) }
  OR EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product {id: $product_id}) }
WITH y, r, s ORDER BY r.priority, s.id LIMIT $limit
MATCH (s)-[h:HAS_STEP]->(t:Step)
MATCH (t)-[n:NEXT]->(u:Step) WHERE n.when IS NOT NULL
WITH t, n, u, h ORDER BY t.id, u.id
RETURN 'Step' AS subject_label, t.id AS subject_id, t.name AS subject_name,
  'NEXT' AS predicate, 'Step' AS object_label, u.id AS object_id, u.name AS object_name,
  null AS value, h.order AS rank,
  reduce(said = '', one IN coalesce(n.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (y:Symptom {id: $symptom_id})-[r:RESOLVED_BY]->(s:Solution)
WHERE $product_id IS NULL OR NOT EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product) }
  OR EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product {id: $product_id}) }
WITH y, r, s ORDER BY r.priority, s.id LIMIT $limit
MATCH (s)-[h:HAS_STEP]->(t:Step)
MATCH (t)-[n:NEXT]->(u:Step) WHERE n.when IS NOT NULL
WITH t, n, u, h ORDER BY t.id, u.id
RETURN 'Step' AS subject_label, t.id AS subject_id, t.name AS subject_name,
  'next_when' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  n.when AS value, h.order AS rank,
  reduce(said = '', one IN coalesce(n.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
