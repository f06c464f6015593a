// name: neighbourhood
// kind: anything about a thing that no other template answers
// param id: string 1..80  no personal node is reached
// param fan_out: integer 1..50  relationships of one type
// param limit: integer 1..100  relationships in all
// returns: facts
// yields: the literal properties of the node and its relationships to nodes that are nobody's
// A hub has a million relationships of one type: 1,000 of each type are looked at, $fan_out kept.
MATCH (a:Product|Accessory|Category|Feature|Symptom|ErrorCode|Solution|Policy|Promotion|Article
  {id: $id})
WHERE NOT EXISTS { MATCH (a)-[:ABOUT]->(:Customer|Order|Ticket) }
UNWIND keys(a) AS key
WITH a, key
WHERE NOT key IN ['id', 'name', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id',
    'embedding', 'embedding_model']
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
WHERE NOT EXISTS { MATCH (a)-[:ABOUT]->(:Customer|Order|Ticket) }
CALL {
  WITH a MATCH (a)-[r:IN_CATEGORY]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:SUPPORTS_FEATURE]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:COMPATIBLE_WITH]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:HAS_SYMPTOM]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:INDICATES]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:RESOLVED_BY]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:HAS_STEP]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:APPLIES_TO]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:HAS_VERSION]-(n) WHERE n.corrected_by IS NULL RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:COVERS]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:COMBINES_WITH]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:EXCLUDES]-(n) RETURN r, n LIMIT 1000
  UNION ALL
  WITH a MATCH (a)-[r:ABOUT]-(n) RETURN r, n LIMIT 1000
}
WITH r, n
WHERE (n:Product OR n:Accessory OR n:Category OR n:Feature OR n:Symptom OR n:ErrorCode
    OR n:Solution OR n:Step OR n:Policy OR n:PolicyVersion OR n:Promotion OR n:Article)
  AND NOT EXISTS { MATCH (n)-[:ABOUT]->(:Customer|Order|Ticket) }
WITH type(r) AS kind, r, n ORDER BY kind, n.id
WITH kind, collect(r)[0..$fan_out] AS kept
UNWIND kept AS r
WITH r, startNode(r) AS s, endNode(r) AS o ORDER BY type(r), s.id, o.id LIMIT $limit
RETURN labels(s)[0] AS subject_label, s.id AS subject_id, s.name AS subject_name,
  type(r) AS predicate, labels(o)[0] AS object_label, o.id AS object_id, o.name AS object_name,
  null AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
