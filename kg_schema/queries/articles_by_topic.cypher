// name: articles_by_topic
// kind: guides and general information on a topic
// param topic: string 1..80  an intent label
// param entity_ids: strings 0..20  ids of what it must be about; empty for anything
// param limit: integer 1..50
// returns: facts
// yields: body of each article and what it is ABOUT; none that is about a customer, order or ticket
MATCH (t:Article {topic: $topic})
WHERE ($entity_ids = [] OR EXISTS { MATCH (t)-[:ABOUT]->(n) WHERE n.id IN $entity_ids }
    OR NOT EXISTS { MATCH (t)-[:ABOUT]->(:Product|Category|Accessory) })
  AND NOT EXISTS { MATCH (t)-[:ABOUT]->(:Customer|Order|Ticket) }
WITH t ORDER BY t.id LIMIT $limit
RETURN 'Article' AS subject_label, t.id AS subject_id, t.name AS subject_name,
  'body' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  t.body AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(t.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (t:Article {topic: $topic})
WHERE ($entity_ids = [] OR EXISTS { MATCH (t)-[:ABOUT]->(n) WHERE n.id IN $entity_ids }
    OR NOT EXISTS { MATCH (t)-[:ABOUT]->(:Product|Category|Accessory) })
  AND NOT EXISTS { MATCH (t)-[:ABOUT]->(:Customer|Order|Ticket) }
WITH t ORDER BY t.id LIMIT $limit
MATCH (t)-[r:ABOUT]->(n:Product|Accessory|Category|Feature|Symptom|ErrorCode|Solution|Policy
  |Promotion)
WITH t, r, n ORDER BY t.id, n.id LIMIT 200
RETURN 'Article' AS subject_label, t.id AS subject_id, t.name AS subject_name,
  'ABOUT' AS predicate, labels(n)[0] AS object_label, n.id AS object_id, n.name AS object_name,
  null AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
