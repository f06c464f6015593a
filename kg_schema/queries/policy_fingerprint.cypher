// name: policy_fingerprint
// kind: what the company promises today, to be compared with another day's
// param as_of: date
// returns: facts
// yields: the text of policy versions in force, what policies and promotions cover and go with, what promotions give, every topic
MATCH (o:Policy)-[r:HAS_VERSION]->(v:PolicyVersion)
WHERE v.valid_from <= $as_of AND (v.valid_to IS NULL OR v.valid_to >= $as_of)
  AND v.corrected_by IS NULL
RETURN 'Policy' AS subject_label, o.id AS subject_id, o.name AS subject_name, 'text' AS predicate,
  null AS object_label, null AS object_id, null AS object_name,
  v.text AS value, 0 AS rank, null AS source, null AS valid_from, null AS valid_to
UNION ALL
MATCH (o:Policy)
UNWIND [['topic', o.topic], ['rule', o.rule]] AS property
WITH o, property WHERE property[1] IS NOT NULL
RETURN 'Policy' AS subject_label, o.id AS subject_id, o.name AS subject_name, property[0] AS predicate,
  null AS object_label, null AS object_id, null AS object_name,
  property[1] AS value, 0 AS rank, null AS source, null AS valid_from, null AS valid_to
UNION ALL
MATCH (m:Promotion)
UNWIND keys(m) AS key
WITH m, key WHERE NOT key IN ['id', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id'] AND toStringOrNull(m[key]) IS NOT NULL
RETURN 'Promotion' AS subject_label, m.id AS subject_id, m.name AS subject_name, key AS predicate,
  null AS object_label, null AS object_id, null AS object_name,
  toString(m[key]) AS value, 0 AS rank, null AS source, null AS valid_from, null AS valid_to
UNION ALL
MATCH (a:Policy|Promotion)-[r:COVERS|COMBINES_WITH|EXCLUDES]->(b:Product|Category|Promotion)
RETURN labels(a)[0] AS subject_label, a.id AS subject_id, a.name AS subject_name, type(r) AS predicate,
  labels(b)[0] AS object_label, b.id AS object_id, b.name AS object_name,
  null AS value, 0 AS rank, null AS source, null AS valid_from, null AS valid_to
UNION ALL
MATCH (n:Policy|Article|Symptom|Solution) WHERE n.topic IS NOT NULL
WITH DISTINCT n.topic AS topic
RETURN 'Topic' AS subject_label, topic AS subject_id, topic AS subject_name, 'topic' AS predicate,
  null AS object_label, null AS object_id, null AS object_name,
  topic AS value, 0 AS rank, null AS source, null AS valid_from, null AS valid_to
