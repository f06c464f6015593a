// name: order_policies
// kind: which policy holds for a customer's order
// param customer_id: string 1..80  whose orders may be read
// param order_id: string 1..80
// param topic: string 1..80  an intent label
// param limit: integer 1..200
// returns: facts
// yields: as policy_as_of on the day the order was placed, and IN_CATEGORY of what it contains
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (o:Policy {topic: $topic})
MATCH (o)-[r:HAS_VERSION]->(v:PolicyVersion)
WHERE v.valid_from <= n.placed_on AND (v.valid_to IS NULL OR v.valid_to >= n.placed_on)
  AND v.corrected_by IS NULL
WITH o, r, v ORDER BY o.id, v.valid_from DESC LIMIT $limit
RETURN 'Policy' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  'HAS_VERSION' AS predicate,
  'PolicyVersion' AS object_label, v.id AS object_id, v.name AS object_name,
  null AS value, v.version AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  v.valid_from AS valid_from, v.valid_to AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (o:Policy {topic: $topic})
MATCH (o)-[r:HAS_VERSION]->(v:PolicyVersion)
WHERE v.valid_from <= n.placed_on AND (v.valid_to IS NULL OR v.valid_to >= n.placed_on)
  AND v.corrected_by IS NULL
WITH o, r, v ORDER BY o.id, v.valid_from DESC LIMIT $limit
RETURN 'PolicyVersion' AS subject_label, v.id AS subject_id, v.name AS subject_name,
  'text' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  v.text AS value, v.version AS rank,
  reduce(said = '', one IN coalesce(v.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  v.valid_from AS valid_from, v.valid_to AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (o:Policy {topic: $topic})
UNWIND [['topic', o.topic], ['rule', o.rule]] AS property
WITH o, property WHERE property[1] IS NOT NULL
RETURN 'Policy' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  property[0] AS predicate, null AS object_label, null AS object_id, null AS object_name,
  property[1] AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(o.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (o:Policy {topic: $topic})
MATCH (o)-[r:COVERS]->(c:Product|Category)
WITH o, r, c ORDER BY o.id, c.id LIMIT $limit
RETURN 'Policy' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  'COVERS' AS predicate, labels(c)[0] AS object_label, c.id AS object_id, c.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (k:Customer {id: $customer_id})-[:PLACED]->(n:Order {id: $order_id})
MATCH (n)-[:CONTAINS]->(p:Product)-[r:IN_CATEGORY]->(c:Category)
WITH p, r, c ORDER BY p.id LIMIT $limit
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'IN_CATEGORY' AS predicate, 'Category' AS object_label, c.id AS object_id, c.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
