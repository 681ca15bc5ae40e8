"""Rendered Kubernetes manifests: is the sidecar the only way to the app?"""
