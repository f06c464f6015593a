// What reads look up besides the business id: what an intent is about, and when things hold.
CREATE INDEX policy_topic IF NOT EXISTS FOR (n:Policy) ON (n.topic);
CREATE INDEX article_topic IF NOT EXISTS FOR (n:Article) ON (n.topic);
CREATE INDEX symptom_topic IF NOT EXISTS FOR (n:Symptom) ON (n.topic);
CREATE INDEX solution_topic IF NOT EXISTS FOR (n:Solution) ON (n.topic);
CREATE INDEX product_category IF NOT EXISTS FOR (n:Product) ON (n.category);
CREATE INDEX policyversion_valid_from IF NOT EXISTS FOR (n:PolicyVersion) ON (n.valid_from);
