// name: promotion_rules
// kind: what promotions give and whether they go together
// param promotion_ids: strings 0..10
// param limit: integer 1..200
// returns: facts
// yields: the literal properties of each, COMBINES_WITH and EXCLUDES that leave or reach them,
// yields: COVERS
MATCH (m:Promotion) WHERE m.id IN $promotion_ids
UNWIND keys(m) AS key
WITH m, key
WHERE NOT key IN ['id', 'name', 'aliases', 'source_ids', 'content_hash', 'loaded_at', 'batch_id']
  AND toStringOrNull(m[key]) IS NOT NULL
RETURN 'Promotion' AS subject_label, m.id AS subject_id, m.name AS subject_name,
  key AS predicate, null AS object_label, null AS object_id, null AS object_name,
  toString(m[key]) AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(m.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (m:Promotion)-[r:COMBINES_WITH|EXCLUDES]->(w:Promotion)
WHERE m.id IN $promotion_ids OR w.id IN $promotion_ids
WITH m, r, w ORDER BY m.id, w.id LIMIT $limit
RETURN 'Promotion' AS subject_label, m.id AS subject_id, m.name AS subject_name,
  type(r) AS predicate, 'Promotion' AS object_label, w.id AS object_id, w.name AS object_name,
  null AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (m:Promotion)-[r:COVERS]->(c:Product|Category) WHERE m.id IN $promotion_ids
WITH m, r, c ORDER BY m.id, c.id LIMIT $limit
RETURN 'Promotion' AS subject_label, m.id AS subject_id, m.name AS subject_name,
  'COVERS' AS predicate, labels(c)[0] AS object_label, c.id AS object_id, c.name AS object_name,
  null AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
