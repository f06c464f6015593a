// name: product_features
// kind: what a product can do, its charging protocols, its water protection
// param product_id: string 1..80
// param feature_ids: strings 0..10  features asked about
// param limit: integer 1..200
// returns: facts
// yields: SUPPORTS_FEATURE, and kind and value of each feature, of those asked about too
MATCH (p:Product {id: $product_id})-[r:SUPPORTS_FEATURE]->(f:Feature)
WITH p, r, f ORDER BY f.id LIMIT $limit
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'SUPPORTS_FEATURE' AS predicate,
  'Feature' AS object_label, f.id AS object_id, f.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[r:SUPPORTS_FEATURE]->(f:Feature)
WITH p, r, f ORDER BY f.id LIMIT $limit
UNWIND [['kind', f.kind], ['value', f.value]] AS property
WITH f, property WHERE property[1] IS NOT NULL
RETURN 'Feature' AS subject_label, f.id AS subject_id, f.name AS subject_name,
  property[0] AS predicate, null AS object_label, null AS object_id, null AS object_name,
  property[1] AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(f.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (f:Feature) WHERE f.id IN $feature_ids
UNWIND [['kind', f.kind], ['value', f.value]] AS property
WITH f, property WHERE property[1] IS NOT NULL
RETURN 'Feature' AS subject_label, f.id AS subject_id, f.name AS subject_name,
  property[0] AS predicate, null AS object_label, null AS object_id, null AS object_name,
  property[1] AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(f.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
