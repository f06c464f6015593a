// name: order_refund
// kind: how a customer's order was paid, and where and when its refund goes
// param customer_id: string 1..80  whose orders may be read
// param order_id: string 1..80
// param as_of: date
// param limit: integer 1..50
// returns: facts
// yields: status, PAID_WITH and REFUNDED_TO with their amounts, source of each payment method, and
// yields: HAS_VERSION and text of the policies on refunds for orders of that status
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
WITH n WHERE n.status IS NOT NULL
RETURN 'Order' AS subject_label, n.id AS subject_id, n.name AS subject_name,
  'status' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  n.status AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(n.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[r:PAID_WITH]->(m:PaymentMethod)<-[:HAS_PAYMENT_METHOD]-(k)
RETURN 'Order' AS subject_label, n.id AS subject_id, n.name AS subject_name,
  'PAID_WITH' AS predicate,
  'PaymentMethod' AS object_label, m.id AS object_id, m.name AS object_name,
  null AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[r:PAID_WITH]->(m:PaymentMethod)<-[:HAS_PAYMENT_METHOD]-(k)
WITH m, r WHERE r.amount IS NOT NULL
RETURN 'PaymentMethod' AS subject_label, m.id AS subject_id, m.name AS subject_name,
  'paid' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(r.amount) AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[r:REFUNDED_TO]->(m:PaymentMethod)<-[:HAS_PAYMENT_METHOD]-(k)
RETURN 'Order' AS subject_label, n.id AS subject_id, n.name AS subject_name,
  'REFUNDED_TO' AS predicate,
  'PaymentMethod' AS object_label, m.id AS object_id, m.name AS object_name,
  null AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[r:REFUNDED_TO]->(m:PaymentMethod)<-[:HAS_PAYMENT_METHOD]-(k)
WITH m, r WHERE r.amount IS NOT NULL
RETURN 'PaymentMethod' AS subject_label, m.id AS subject_id, m.name AS subject_name,
  'refunded' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(r.amount) AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[:PAID_WITH|REFUNDED_TO]->(m:PaymentMethod)<-[:HAS_PAYMENT_METHOD]-(k)
WITH DISTINCT m
RETURN 'PaymentMethod' AS subject_label, m.id AS subject_id, m.name AS subject_name,
  'source' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  m.source AS value, 3 AS rank,
  reduce(said = '', one IN coalesce(m.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (o:Policy) WHERE n.status IN o.order_statuses AND 'refund' IN o.actions
MATCH (o)-[r:HAS_VERSION]->(v:PolicyVersion)
WHERE v.valid_from <= $as_of AND (v.valid_to IS NULL OR v.valid_to >= $as_of)
WITH o, r, v ORDER BY o.id, v.id LIMIT $limit
RETURN 'Policy' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  'HAS_VERSION' AS predicate,
  'PolicyVersion' AS object_label, v.id AS object_id, v.name AS object_name,
  null AS value, 4 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  v.valid_from AS valid_from, v.valid_to AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (o:Policy) WHERE n.status IN o.order_statuses AND 'refund' IN o.actions
MATCH (o)-[r:HAS_VERSION]->(v:PolicyVersion)
WHERE v.valid_from <= $as_of AND (v.valid_to IS NULL OR v.valid_to >= $as_of)
WITH o, r, v ORDER BY o.id, v.id LIMIT $limit
RETURN 'PolicyVersion' AS subject_label, v.id AS subject_id, v.name AS subject_name,
  'text' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  v.text AS value, 5 AS rank,
  reduce(said = '', one IN coalesce(v.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  v.valid_from AS valid_from, v.valid_to AS valid_to
