// name: product_profile
// kind: price, stock, weight, battery, colours, firmware, warranty, release of a product
// param product_id: string 1..80
// returns: facts
// yields: the literal properties of the product, one fact a colour, and IN_CATEGORY
MATCH (p:Product {id: $product_id})
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
MATCH (p:Product {id: $product_id})
UNWIND p.colors AS color
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'colors' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  color AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(p.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[r:IN_CATEGORY]->(c:Category)
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'IN_CATEGORY' AS predicate, 'Category' AS object_label, c.id AS object_id, c.name AS object_name,
  null AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
