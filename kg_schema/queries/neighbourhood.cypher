// name: neighbourhood
// kind: anything about a thing that no other template answers
// param id: string 1..80  no personal node is reached
// param limit: integer 1..100
// returns: facts
// yields: the literal properties of the node and its relationships to nodes that are nobody's
MATCH (a:Product|Accessory|Category|Feature|Symptom|ErrorCode|Solution|Policy|Promotion|Article
  {id: $id})
UNWIND keys(a) AS key
WITH a, key
WHERE NOT key IN ['id', 'name', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id']
  AND toStringOrNull(a[key]) IS NOT NULL
RETURN labels(a)[0] AS subject_label, a.id AS subject_id, a.name AS subject_name,
  key AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(a[key]) AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(a.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (a:Product|Accessory|Category|Feature|Symptom|ErrorCode|Solution|Policy|Promotion|Article
  {id: $id})
MATCH (a)-[r]-(n:Product|Accessory|Category|Feature|Symptom|ErrorCode|Solution|Policy
  |PolicyVersion|Promotion|Article)
WITH r, startNode(r) AS s, endNode(r) AS o ORDER BY type(r), s.id, o.id LIMIT $limit
RETURN labels(s)[0] AS subject_label, s.id AS subject_id, s.name AS subject_name,
  type(r) AS predicate, labels(o)[0] AS object_label, o.id AS object_id, o.name AS object_name,
  null AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
