// name: order_changes
// kind: what may still be changed, cancelled, returned or exchanged on a customer's order
// param customer_id: string 1..80  whose orders may be read
// param order_id: string 1..80
// param as_of: date
// param limit: integer 1..50
// returns: facts
// yields: status and HAS_ITEM of the order; of every policy for orders of that status actions, and
// yields: HAS_VERSION and text of the version in force; nothing of another customer's order
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
MATCH (n)-[r:HAS_ITEM]->(w:Variant)
WITH n, r, w ORDER BY w.id LIMIT $limit
RETURN 'Order' AS subject_label, n.id AS subject_id, n.name AS subject_name,
  'HAS_ITEM' AS predicate,
  'Variant' AS object_label, w.id AS object_id, w.name AS object_name,
  null AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (o:Policy) WHERE n.status IN o.order_statuses
WITH o ORDER BY o.id LIMIT $limit
UNWIND o.actions AS action
RETURN 'Policy' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  'actions' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  action AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(o.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (o:Policy) WHERE n.status IN o.order_statuses
MATCH (o)-[r:HAS_VERSION]->(v:PolicyVersion)
WHERE v.valid_from <= $as_of AND (v.valid_to IS NULL OR v.valid_to >= $as_of)
WITH o, r, v ORDER BY o.id, v.id LIMIT $limit
RETURN 'Policy' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  'HAS_VERSION' AS predicate,
  'PolicyVersion' AS object_label, v.id AS object_id, v.name AS object_name,
  null AS value, 3 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  v.valid_from AS valid_from, v.valid_to AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (o:Policy) WHERE n.status IN o.order_statuses
MATCH (o)-[r:HAS_VERSION]->(v:PolicyVersion)
WHERE v.valid_from <= $as_of AND (v.valid_to IS NULL OR v.valid_to >= $as_of)
WITH o, r, v ORDER BY o.id, v.id LIMIT $limit
RETURN 'PolicyVersion' AS subject_label, v.id AS subject_id, v.name AS subject_name,
  'text' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  v.text AS value, 4 AS rank,
  reduce(said = '', one IN coalesce(v.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  v.valid_from AS valid_from, v.valid_to AS valid_to
