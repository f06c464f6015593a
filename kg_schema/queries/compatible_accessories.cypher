// name: compatible_accessories
// kind: which accessories fit a product
// param product_id: string 1..80
// param limit: integer 1..200
// returns: facts
// yields: COMPATIBLE_WITH as stored, min_firmware where there is one, and kind, price_eur and
// yields: stock of each accessory
MATCH (p:Product {id: $product_id})-[r:COMPATIBLE_WITH]-(a:Accessory)
WITH p, r, a ORDER BY a.id LIMIT $limit
WITH r, startNode(r) AS s, endNode(r) AS o
RETURN labels(s)[0] AS subject_label, s.id AS subject_id, s.name AS subject_name,
  'COMPATIBLE_WITH' AS predicate,
  labels(o)[0] AS object_label, o.id AS object_id, o.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[r:COMPATIBLE_WITH]-(a:Accessory)
WITH p, r, a ORDER BY a.id LIMIT $limit
WITH r, a WHERE r.min_firmware IS NOT NULL
RETURN 'Accessory' AS subject_label, a.id AS subject_id, a.name AS subject_name,
  'min_firmware' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  r.min_firmware AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[r:COMPATIBLE_WITH]-(a:Accessory)
WITH p, r, a ORDER BY a.id LIMIT $limit
UNWIND [['kind', a.kind], ['price_eur', toString(a.price_eur)], ['stock', a.stock]] AS property
WITH a, property WHERE property[1] IS NOT NULL
RETURN 'Accessory' AS subject_label, a.id AS subject_id, a.name AS subject_name,
  property[0] AS predicate, null AS object_label, null AS object_id, null AS object_name,
  property[1] AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(a.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
