// name: product_symptoms
// kind: which faults a product is known for
// param product_ids: strings 0..10
// param limit: integer 1..1000
// returns: facts
// yields: HAS_SYMPTOM of each product
MATCH (p:Product)-[r:HAS_SYMPTOM]->(s:Symptom) WHERE p.id IN $product_ids
WITH p, r, s ORDER BY p.id, s.id LIMIT $limit
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'HAS_SYMPTOM' AS predicate, 'Symptom' AS object_label, s.id AS object_id, s.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
