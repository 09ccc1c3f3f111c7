"""What goes into the bodies and queries of our requests, and the small answers to them."""

from __future__ import annotations

from typing import Any

import msgspec

Body = dict[str, Any]


class ReviewStatus(msgspec.Struct, frozen=True):
    """`status` of an access review."""

    allowed: bool


class AccessReview(msgspec.Struct, frozen=True):
    """The answer to `access_review`."""

    status: ReviewStatus


class Version(msgspec.Struct, frozen=True, rename="camel"):
    """The answer of `/version`."""

    major: str
    minor: str
    git_version: str


def selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    """Return the query for a part of a collection; empty selectors mean all."""
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in query.items() if value}


def write_query(field_manager: str, *, dry_run: bool) -> dict[str, str]:
    """Return the query of a write; a field that the server doesn't know is an error."""
    query = {"fieldManager": field_manager, "fieldValidation": "Strict"}
    return {**query, "dryRun": "All"} if dry_run else query


def delete_options(uid: str, propagation: str) -> Body:
    """Return the options that let a deletion hit one UID and no other.

    Args:
        uid: which the object must have.
        propagation: what becomes of what it owns; empty for the server's default.
    """
    options: Body = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid},
    }
    if propagation:
        options["propagationPolicy"] = propagation
    return options


def access_review(**attributes: str) -> Body:
    """Return the question whether we may do something; empty attributes mean any."""
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }


def leading_number(text: str) -> int:
    """Return 36 for `36+`, as managed clusters write it; 0 without any digit."""
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    return int(digits) if digits else 0
