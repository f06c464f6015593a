// name: articles_by_vector
// kind: articles whose meaning is near
// param vector: floats 1..4096  the question's embedding
// param model: string 1..200  what made it; articles that another model embedded are left out
// param limit: integer 1..50
// returns: facts
// yields: body of each article, nearest first; none that is about a customer, order or ticket
// More than wanted are asked for: an approximate index finds more of the true nearest that way, and
// articles that are left out leave no gap. Their order is exact, the index's is not: Neo4j's
// compares in 8 bits, and by its own scores the first ten lack 8% of the true ones.
CALL db.index.vector.queryNodes('article_vector', $limit * 5 + 100, $vector) YIELD node
WITH node AS t
WHERE t.embedding_model = $model AND NOT EXISTS { MATCH (t)-[:ABOUT]->(:Customer|Order|Ticket) }
WITH t, vector.similarity.cosine(t.embedding, $vector) AS score
ORDER BY score DESC, t.id LIMIT $limit
RETURN 'Article' AS subject_label, t.id AS subject_id, t.name AS subject_name,
  'body' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  t.body AS value, toInteger(-100000 * score) AS rank,
  reduce(said = '', one IN coalesce(t.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
