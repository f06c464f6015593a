// name: symptom_context
// kind: how a product charges: protocols and chargers that fit
// param product_id: string 1..80
// param limit: integer 1..200
// returns: facts
// yields: SUPPORTS_FEATURE of kind protocol, COMPATIBLE_WITH of kind charger, kind of each,
// yields: price_eur and stock of chargers, latest_firmware
MATCH (p:Product {id: $product_id})-[r:SUPPORTS_FEATURE]->(f:Feature)
WHERE f.kind = 'protocol'
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
WHERE f.kind = 'protocol'
WITH p, r, f ORDER BY f.id LIMIT $limit
RETURN 'Feature' AS subject_label, f.id AS subject_id, f.name AS subject_name,
  'kind' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  f.kind AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(f.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[r:COMPATIBLE_WITH]-(a:Accessory)
WHERE a.kind = 'charger'
WITH p, r, a ORDER BY a.id LIMIT $limit
WITH r, startNode(r) AS s, endNode(r) AS o
RETURN labels(s)[0] AS subject_label, s.id AS subject_id, s.name AS subject_name,
  'COMPATIBLE_WITH' AS predicate,
  labels(o)[0] AS object_label, o.id AS object_id, o.name AS object_name,
  null AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[r:COMPATIBLE_WITH]-(a:Accessory)
WHERE a.kind = 'charger'
WITH p, r, a ORDER BY a.id LIMIT $limit
WITH r, a WHERE r.min_firmware IS NOT NULL
RETURN 'Accessory' AS subject_label, a.id AS subject_id, a.name AS subject_name,
  'min_firmware' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  r.min_firmware AS value, 3 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[r:COMPATIBLE_WITH]-(a:Accessory)
WHERE a.kind = 'charger'
WITH p, r, a ORDER BY a.id LIMIT $limit
UNWIND [['kind', a.kind], ['price_eur', toString(a.price_eur)], ['stock', a.stock]] AS property
WITH a, property WHERE property[1] IS NOT NULL
RETURN 'Accessory' AS subject_label, a.id AS subject_id, a.name AS subject_name,
  property[0] AS predicate, null AS object_label, null AS object_id, null AS object_name,
  property[1] AS value, 4 AS rank,
  reduce(said = '', one IN coalesce(a.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id}) WHERE p.latest_firmware IS NOT NULL
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'latest_firmware' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  p.latest_firmware AS value, 5 AS rank,
  reduce(said = '', one IN coalesce(p.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
