// name: compatibility
// kind: does this accessory fit this product
// param accessory_id: string 1..80
// param product_id: string 1..80
// param limit: integer 1..200
// returns: facts
// yields: COMPATIBLE_WITH between the two, min_firmware, what else the accessory fits, features
// yields: both share, names and kind
MATCH (a:Accessory {id: $accessory_id})-[r:COMPATIBLE_WITH]-(p:Product {id: $product_id})
WITH r, startNode(r) AS s, endNode(r) AS o
RETURN labels(s)[0] AS subject_label, s.id AS subject_id, s.name AS subject_name,
  'COMPATIBLE_WITH' AS predicate,
  labels(o)[0] AS object_label, o.id AS object_id, o.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (a:Accessory {id: $accessory_id})-[r:COMPATIBLE_WITH]-(p:Product {id: $product_id})
WITH r, a WHERE r.min_firmware IS NOT NULL
RETURN 'Accessory' AS subject_label, a.id AS subject_id, a.name AS subject_name,
  'min_firmware' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  r.min_firmware AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (a:Accessory {id: $accessory_id})-[r:COMPATIBLE_WITH]-(n:Product|Feature)
WITH r, n ORDER BY n.id LIMIT $limit
WITH r, startNode(r) AS s, endNode(r) AS o WHERE s.id <> $product_id AND o.id <> $product_id
RETURN labels(s)[0] AS subject_label, s.id AS subject_id, s.name AS subject_name,
  'COMPATIBLE_WITH' AS predicate,
  labels(o)[0] AS object_label, o.id AS object_id, o.name AS object_name,
  null AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (a:Accessory {id: $accessory_id})-[:COMPATIBLE_WITH]-(f:Feature)
  <-[r:SUPPORTS_FEATURE]-(p:Product {id: $product_id})
WITH p, r, f ORDER BY f.id LIMIT $limit
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'SUPPORTS_FEATURE' AS predicate,
  'Feature' AS object_label, f.id AS object_id, f.name AS object_name,
  null AS value, 3 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (a:Accessory {id: $accessory_id})
UNWIND keys(a) AS key
WITH a, key
WHERE NOT key IN ['id', 'name', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id']
  AND toStringOrNull(a[key]) IS NOT NULL
RETURN 'Accessory' AS subject_label, a.id AS subject_id, a.name AS subject_name,
  key AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(a[key]) AS value, 4 AS rank,
  reduce(said = '', one IN coalesce(a.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'name' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  p.name AS value, 5 AS rank,
  reduce(said = '', one IN coalesce(p.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
