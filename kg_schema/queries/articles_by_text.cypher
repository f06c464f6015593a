// name: articles_by_text
// kind: articles whose words match
// param query: string 1..2000  Lucene query text, escaped by the caller
// param limit: integer 1..50
// returns: facts
// yields: body of each article, best match first; none that is about a customer, order or ticket
CALL db.index.fulltext.queryNodes('article_text', $query) YIELD node, score
WITH node AS t, score
WHERE NOT EXISTS { MATCH (t)-[:ABOUT]->(:Customer|Order|Ticket) }
WITH t, score ORDER BY score DESC LIMIT $limit
RETURN 'Article' AS subject_label, t.id AS subject_id, t.name AS subject_name,
  'body' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  t.body AS value, toInteger(-1000 * score) AS rank,
  reduce(said = '', one IN coalesce(t.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
