// name: order_warranty
// kind: how long a customer's order is under warranty
// param customer_id: string 1..80  whose orders may be read
// param order_id: string 1..80
// param limit: integer 1..200
// returns: facts
// yields: CONTAINS, warranty_months of each product, and warranty_until: the delivery day (else
// yields: the order day) plus those months
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[r:CONTAINS]->(p:Product)
WITH n, r, p ORDER BY p.id LIMIT $limit
RETURN 'Order' AS subject_label, n.id AS subject_id, n.name AS subject_name,
  'CONTAINS' AS predicate, 'Product' AS object_label, p.id AS object_id, p.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[r:CONTAINS]->(p:Product)
WITH n, r, p ORDER BY p.id LIMIT $limit
WITH p WHERE p.warranty_months IS NOT NULL
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'warranty_months' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(p.warranty_months) AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(p.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[r:CONTAINS]->(p:Product)
WITH n, r, p ORDER BY p.id LIMIT $limit
WITH n, p, coalesce(n.delivered_on, n.placed_on) AS start
WHERE p.warranty_months IS NOT NULL AND start IS NOT NULL
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'warranty_until' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(date(start) + duration({months: p.warranty_months})) AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(p.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
