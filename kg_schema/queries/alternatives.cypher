// name: alternatives
// kind: what to buy instead of a product
// param product_id: string 1..80
// param limit: integer 1..20
// returns: facts
// yields: IN_CATEGORY of the product and of others of its category that are in stock, nearest
// yields: price first, with their price and stock, and the features they share
MATCH (p:Product {id: $product_id})-[r:IN_CATEGORY]->(c:Category)
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'IN_CATEGORY' AS predicate, 'Category' AS object_label, c.id AS object_id, c.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
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
MATCH (p:Product {id: $product_id})-[:IN_CATEGORY]->(c:Category)<-[:IN_CATEGORY]-(o:Product)
WHERE o.id <> p.id AND o.stock = 'in_stock'
WITH p, o, abs(o.price_eur - p.price_eur) AS distance ORDER BY distance, o.id LIMIT $limit
MATCH (o)-[r:IN_CATEGORY]->(c:Category)
RETURN 'Product' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  'IN_CATEGORY' AS predicate, 'Category' AS object_label, c.id AS object_id, c.name AS object_name,
  null AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[:IN_CATEGORY]->(c:Category)<-[:IN_CATEGORY]-(o:Product)
WHERE o.id <> p.id AND o.stock = 'in_stock'
WITH p, o, abs(o.price_eur - p.price_eur) AS distance ORDER BY distance, o.id LIMIT $limit
UNWIND [['price_eur', toString(o.price_eur)], ['stock', o.stock]] AS property
WITH o, property WHERE property[1] IS NOT NULL
RETURN 'Product' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  property[0] AS predicate, null AS object_label, null AS object_id, null AS object_name,
  property[1] AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(o.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[:IN_CATEGORY]->(c:Category)<-[:IN_CATEGORY]-(o:Product)
WHERE o.id <> p.id AND o.stock = 'in_stock'
WITH p, o, abs(o.price_eur - p.price_eur) AS distance ORDER BY distance, o.id LIMIT $limit
MATCH (p)-[:SUPPORTS_FEATURE]->(f:Feature)<-[r:SUPPORTS_FEATURE]-(o)
RETURN 'Product' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  'SUPPORTS_FEATURE' AS predicate,
  'Feature' AS object_label, f.id AS object_id, f.name AS object_name,
  null AS value, 3 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
