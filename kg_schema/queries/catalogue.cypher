// name: catalogue
// kind: which things a mention in a text can mean
// param limit: integer 1..100000  nodes
// returns: facts
// yields: name, aliases, code, topic, kind, category and description of everything a customer
// yields: can name
MATCH (n:Product|Accessory|Category|ErrorCode|Feature|Promotion|Policy|Symptom)
WITH n ORDER BY n.id LIMIT $limit
UNWIND [['name', [n.name]], ['aliases', coalesce(n.aliases, [])], ['code', [n.code]],
  ['topic', [n.topic]], ['kind', [n.kind]], ['category', [n.category]],
  ['description', [n.description]]] AS property
UNWIND property[1] AS written
WITH n, property[0] AS key, written WHERE written IS NOT NULL
RETURN labels(n)[0] AS subject_label, n.id AS subject_id, n.name AS subject_name,
  key AS predicate, null AS object_label, null AS object_id, null AS object_name,
  written AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(n.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
