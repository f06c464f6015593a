// name: compare_products
// kind: how products differ
// param product_ids: strings 0..10
// param limit: integer 1..200
// returns: facts
// yields: the literal properties, IN_CATEGORY and SUPPORTS_FEATURE of each
MATCH (p:Product) WHERE p.id IN $product_ids
UNWIND keys(p) AS key
WITH p, key
WHERE NOT key IN ['id', 'name', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id']
  AND toStringOrNull(p[key]) IS NOT NULL
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  key AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(p[key]) AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(p.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product)-[r:IN_CATEGORY]->(c:Category) WHERE p.id IN $product_ids
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'IN_CATEGORY' AS predicate, 'Category' AS object_label, c.id AS object_id, c.name AS object_name,
  null AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product)-[r:SUPPORTS_FEATURE]->(f:Feature) WHERE p.id IN $product_ids
WITH p, r, f ORDER BY p.id, f.id LIMIT $limit
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'SUPPORTS_FEATURE' AS predicate,
  'Feature' AS object_label, f.id AS object_id, f.name AS object_name,
  null AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
