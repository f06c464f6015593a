// name: promotions_for_product
// kind: which promotions a product has on a day
// param product_id: string 1..80
// param as_of: date
// param limit: integer 1..200
// returns: facts
// yields: COVERS of the promotions in force that name the product or its category, and their
// yields: literal properties
MATCH (p:Product {id: $product_id})
MATCH (m:Promotion)-[r:COVERS]->(c:Product|Category)
WHERE m.valid_from <= $as_of AND m.valid_to >= $as_of
  AND (c.id = p.id OR EXISTS { MATCH (p)-[:IN_CATEGORY]->(c) })
WITH m, r, c ORDER BY m.id LIMIT $limit
RETURN 'Promotion' AS subject_label, m.id AS subject_id, m.name AS subject_name,
  'COVERS' AS predicate, labels(c)[0] AS object_label, c.id AS object_id, c.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})
MATCH (m:Promotion)-[r:COVERS]->(c:Product|Category)
WHERE m.valid_from <= $as_of AND m.valid_to >= $as_of
  AND (c.id = p.id OR EXISTS { MATCH (p)-[:IN_CATEGORY]->(c) })
WITH DISTINCT m ORDER BY m.id LIMIT $limit
UNWIND keys(m) AS key
WITH m, key
WHERE NOT key IN ['id', 'name', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id']
  AND toStringOrNull(m[key]) IS NOT NULL
RETURN 'Promotion' AS subject_label, m.id AS subject_id, m.name AS subject_name,
  key AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(m[key]) AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(m.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
