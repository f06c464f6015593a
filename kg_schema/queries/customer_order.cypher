// name: customer_order
// kind: status, dates and contents of a customer's order
// param customer_id: string 1..80  whose orders may be read
// param order_id: string 1..80
// param limit: integer 1..200
// returns: facts
// yields: the literal properties of the order, CONTAINS, quantity and price of each product in
// yields: it; nothing for an order that is absent or another customer's
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
UNWIND keys(n) AS key
WITH n, key
WHERE NOT key IN ['id', 'name', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id']
  AND toStringOrNull(n[key]) IS NOT NULL
RETURN 'Order' AS subject_label, n.id AS subject_id, n.name AS subject_name,
  key AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(n[key]) AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(n.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[r:CONTAINS]->(p:Product)
WITH n, r, p ORDER BY p.id LIMIT $limit
RETURN 'Order' AS subject_label, n.id AS subject_id, n.name AS subject_name,
  'CONTAINS' AS predicate, 'Product' AS object_label, p.id AS object_id, p.name AS object_name,
  null AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[r:CONTAINS]->(p:Product)
WITH n, r, p ORDER BY p.id LIMIT $limit
UNWIND [['quantity', toString(r.quantity)], ['price', toString(r.price)]] AS property
WITH r, p, property WHERE property[1] IS NOT NULL
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  property[0] AS predicate, null AS object_label, null AS object_id, null AS object_name,
  property[1] AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
