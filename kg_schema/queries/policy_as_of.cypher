// name: policy_as_of
// kind: what a policy said in a period
// param topic: string 1..80  an intent label
// param from_date: date  first day of the period
// param to_date: date  last day of the period
// param limit: integer 1..200
// returns: facts
// yields: HAS_VERSION and text of every version in force on any day of the period, topic and
// yields: rule, COVERS
MATCH (o:Policy {topic: $topic})
MATCH (o)-[r:HAS_VERSION]->(v:PolicyVersion)
WHERE v.valid_from <= $to_date AND (v.valid_to IS NULL OR v.valid_to >= $from_date)
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
MATCH (o:Policy {topic: $topic})
MATCH (o)-[r:HAS_VERSION]->(v:PolicyVersion)
WHERE v.valid_from <= $to_date AND (v.valid_to IS NULL OR v.valid_to >= $from_date)
  AND v.corrected_by IS NULL
WITH o, r, v ORDER BY o.id, v.valid_from DESC LIMIT $limit
RETURN 'PolicyVersion' AS subject_label, v.id AS subject_id, v.name AS subject_name,
  'text' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  v.text AS value, v.version AS rank,
  reduce(said = '', one IN coalesce(v.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  v.valid_from AS valid_from, v.valid_to AS valid_to
UNION ALL
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
MATCH (o:Policy {topic: $topic})
MATCH (o)-[r:COVERS]->(c:Product|Category)
WITH o, r, c ORDER BY o.id, c.id LIMIT $limit
RETURN 'Policy' AS subject_label, o.id AS subject_id, o.name AS subject_name,
  'COVERS' AS predicate, labels(c)[0] AS object_label, c.id AS object_id, c.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
