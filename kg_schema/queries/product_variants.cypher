// name: product_variants
// kind: which variants of a product there are, or are in stock
// param product_id: string 1..80
// param available: boolean?  true keeps those in stock; null keeps all
// param limit: integer 1..200  variants
// returns: facts
// yields: HAS_VARIANT, and available, price and every option of each variant
MATCH (p:Product {id: $product_id})-[r:HAS_VARIANT]->(w:Variant)
WHERE $available IS NULL OR w.available = $available
WITH p, r, w ORDER BY w.id LIMIT $limit
RETURN 'Product' AS subject_label, p.id AS subject_id, p.name AS subject_name,
  'HAS_VARIANT' AS predicate,
  'Variant' AS object_label, w.id AS object_id, w.name AS object_name,
  null AS value, 0 AS rank,
  reduce(said = '', one IN coalesce(r.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[r:HAS_VARIANT]->(w:Variant)
WHERE $available IS NULL OR w.available = $available
WITH p, r, w ORDER BY w.id LIMIT $limit
UNWIND [['available', toString(w.available)], ['price', toString(w.price)]] AS property
WITH w, property WHERE property[1] IS NOT NULL
RETURN 'Variant' AS subject_label, w.id AS subject_id, w.name AS subject_name,
  property[0] AS predicate, null AS object_label, null AS object_id, null AS object_name,
  property[1] AS value, 1 AS rank,
  reduce(said = '', one IN coalesce(w.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
UNION ALL
MATCH (p:Product {id: $product_id})-[r:HAS_VARIANT]->(w:Variant)
WHERE $available IS NULL OR w.available = $available
WITH p, r, w ORDER BY w.id LIMIT $limit
UNWIND w.options AS option
RETURN 'Variant' AS subject_label, w.id AS subject_id, w.name AS subject_name,
  'option' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  option AS value, 2 AS rank,
  reduce(said = '', one IN coalesce(w.source_ids, []) |
    said + CASE said WHEN '' THEN '' ELSE ',' END + one) AS source,
  null AS valid_from, null AS valid_to
