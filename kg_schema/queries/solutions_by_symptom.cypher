// name: solutions_by_symptom
// kind: how to mend a fault of a product
// param symptom_id: string 1..80
// param product_id: string? 1..80  keeps the solutions that apply to it; null keeps all
// param limit: integer 1..20  solutions
// returns: facts
// yields: HAS_SYMPTOM, description, INDICATES, RESOLVED_BY by priority, summary, APPLIES_TO,
// yields: HAS_STEP in order, text of each step
// The solutions and their steps are found once and told by every part that follows.
MATCH (y:Symptom {id: $symptom_id})
CALL {
  WITH y MATCH (y)-[r:RESOLVED_BY]->(s:Solution)
  WHERE $product_id IS NULL OR NOT EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product) }
    OR EXISTS { MATCH (s)-[:APPLIES_TO]->(:Product {id: $product_id}) }
  WITH r, s ORDER BY r.priority, s.id LIMIT $limit
  RETURN collect([r, s]) AS found
}
CALL {
  WITH found UNWIND found AS one
  WITH one[1] AS s MATCH (s)-[h:HAS_STEP]->(t:Step)
  RETURN collect([s, h, t]) AS walked
}
CALL {
  WITH y MATCH (p:Product {id: $product_id})-[r:HAS_SYMPTOM]->(y)
  RETURN p AS subject, 'HAS_SYMPTOM' AS predicate, y AS object, null AS value, 0 AS rank, r AS said
  UNION ALL
  WITH y UNWIND keys(y) AS key
  WITH y, key
  WHERE NOT key IN ['id', 'name', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id',
      'embedding', 'embedding_model']
    AND toStringOrNull(y[key]) IS NOT NULL
  RETURN y AS subject, key AS predicate, null AS object, toString(y[key]) AS value, 0 AS rank,
    y AS said
  UNION ALL
  WITH y MATCH (y)-[r:INDICATES]->(e:ErrorCode)
  WITH y, r, e ORDER BY e.id LIMIT $limit
  RETURN y AS subject, 'INDICATES' AS predicate, e AS object, null AS value, 0 AS rank, r AS said
  UNION ALL
  WITH y, found UNWIND found AS one
  WITH y, one[0] AS r, one[1] AS s
  RETURN y AS subject, 'RESOLVED_BY' AS predicate, s AS object, null AS value, r.priority AS rank,
    r AS said
  UNION ALL
  WITH found UNWIND found AS one
  WITH one[1] AS s
  RETURN s AS subject, 'summary' AS predicate, null AS object, s.summary AS value, 0 AS rank,
    s AS said
  UNION ALL
  WITH found UNWIND found AS one
  WITH one[1] AS s MATCH (s)-[a:APPLIES_TO]->(p:Product {id: $product_id})
  RETURN s AS subject, 'APPLIES_TO' AS predicate, p AS object, null AS value, 0 AS rank, a AS said
  UNION ALL
  WITH found UNWIND found AS one
  WITH one[1] AS s MATCH (s)-[a:APPLIES_TO]->(:Product {id: $product_id})
  WHERE a.firmware IS NOT NULL
  RETURN s AS subject, 'firmware' AS predicate, null AS object, a.firmware AS value, 0 AS rank,
    a AS said
  UNION ALL
  WITH walked UNWIND walked AS one
  WITH one[0] AS s, one[1] AS h, one[2] AS t
  RETURN s AS subject, 'HAS_STEP' AS predicate, t AS object, null AS value, h.order AS rank,
    h AS said
  UNION ALL
  WITH walked UNWIND walked AS one
  WITH one[1] AS h, one[2] AS t
  RETURN t AS subject, 'text' AS predicate, null AS object, t.text AS value, h.order AS rank,
    t AS said
  UNION ALL
  WITH walked UNWIND walked AS one
  WITH one[1] AS h, one[2] AS t MATCH (t)-[n:NEXT]->(u:Step) WHERE n.when IS NOT NULL
  RETURN t AS subject, 'NEXT' AS predicate, u AS object, null AS value, h.order AS rank, n AS said
  UNION ALL
  WITH walked UNWIND walked AS one
  WITH one[1] AS h, one[2] AS t MATCH (t)-[n:NEXT]->(:Step) WHERE n.when IS NOT NULL
  RETURN t AS subject, 'next_when' AS predicate, null AS object, n.when AS value, h.order AS rank,
    n AS said
}
RETURN labels(subject)[0] AS subject_label, subject.id AS subject_id, subject.name AS subject_name,
  predicate AS predicate,
  labels(object)[0] AS object_label, object.id AS object_id, object.name AS object_name,
  value AS value, rank AS rank,
  reduce(sources = '', one IN coalesce(said.source_ids, []) |
    sources + CASE sources WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
