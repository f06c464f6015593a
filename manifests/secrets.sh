#!/bin/sh
# Prints the Secrets that DeskGraph reads, for `kubectl apply --server-side -f -`. Nothing is
# written to disk and no value appears in a command line.
#
#   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY   keys of the object store
#   S3_ENDPOINT                                its address, http://HOST:PORT or https://HOST
#   GRAPH_PASSWORD                             the graph's, 8 characters or more
#   GRAPH_USERNAME        root (the embedded server, the default) or neo4j
#   S3_REGION             us-east-1 by default
#   NAMESPACE             deskgraph by default
#   STEPS_NAMESPACE       where the pipeline's steps run; kubeflow by default
set -eu

for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY S3_ENDPOINT GRAPH_PASSWORD; do
  eval "value=\${$name:-}"
  [ -n "$value" ] || { echo "secrets.sh: $name is not set; see the head of this file" >&2; exit 2; }
done
case $S3_ENDPOINT in
  https://*) https=1 ;;
  http://*) https=0 ;;
  *) echo "secrets.sh: S3_ENDPOINT: $S3_ENDPOINT has no http:// or https:// before it" >&2; exit 2 ;;
esac
[ "${#GRAPH_PASSWORD}" -ge 8 ] || {
  echo "secrets.sh: GRAPH_PASSWORD: the graph takes 8 characters or more" >&2; exit 2; }

encoded() { printf %s "$1" | base64 | tr -d '\n'; }

secret() { # NAMESPACE NAME
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n' "$2" "$1"
}

for namespace in "${NAMESPACE:-deskgraph}" "${STEPS_NAMESPACE:-kubeflow}"; do
  secret "$namespace" deskgraph-graph
  printf 'data:\n  username: %s\n  password: %s\n' \
    "$(encoded "${GRAPH_USERNAME:-root}")" "$(encoded "$GRAPH_PASSWORD")"
  secret "$namespace" deskgraph-object-store
  printf 'data:\n  access-key: %s\n  secret-key: %s\n  endpoint: %s\n  region: %s\n' \
    "$(encoded "$AWS_ACCESS_KEY_ID")" "$(encoded "$AWS_SECRET_ACCESS_KEY")" \
    "$(encoded "$S3_ENDPOINT")" "$(encoded "${S3_REGION:-us-east-1}")"
done

# The same keys once more as KServe's storage initializer wants them.
host=${S3_ENDPOINT#*://}
secret "${NAMESPACE:-deskgraph}" deskgraph-model-store
printf '  annotations:\n'
printf '    serving.kserve.io/%s: "%s"\n' s3-endpoint "${host%/}" s3-usehttps "$https" \
  s3-region "${S3_REGION:-us-east-1}" s3-useanoncredential false
printf 'data:\n  AWS_ACCESS_KEY_ID: %s\n  AWS_SECRET_ACCESS_KEY: %s\n' \
  "$(encoded "$AWS_ACCESS_KEY_ID")" "$(encoded "$AWS_SECRET_ACCESS_KEY")"
