#!/bin/sh
# A post-renderer for Helm: manifests of another chart on stdin, the same with the sidecar on stdout.
# Fails, so that Helm applies nothing, when kustomize does, or when the app could still be reached without the sidecar.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -R "$here/../component" "$folder/component"
cp -R "$here" "$folder/post-renderer"
cat >"$folder/post-renderer/base/rendered.yaml"
if command -v kustomize >/dev/null; then
    kustomize build "$folder/post-renderer" >"$folder/guarded.yaml"
else
    kubectl kustomize "$folder/post-renderer" >"$folder/guarded.yaml"
fi
if command -v sidecar >/dev/null; then
    sidecar check --kubernetes "$folder/guarded.yaml" >&2
fi
cat "$folder/guarded.yaml"
