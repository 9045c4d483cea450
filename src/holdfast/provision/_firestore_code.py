"""A Firestore database for sessions as code: commands for gcloud, or Terraform.

An application needs five permissions at run time. Google's own role with the fewest, `roles/datastore.user`, has more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from ._names import in_hcl, one_name

_LONGEST_ROLE = 64
_PERMISSIONS = tuple(f"datastore.entities.{verb}" for verb in ("create", "delete", "get", "list", "update"))

Fields = Iterable[tuple[str, str]]  # a collection, and a field in it


def gcloud(project: str, database: str, exempt: Fields, collections: Sequence[str]) -> str:
    """A script for a POSIX shell. It can be run again."""
    where = f"--project={quote(project)} --database={quote(database)}"
    lines = [
        "#!/bin/sh",
        "# LOCATION: where a database that is missing is created; it cannot be moved later.",
        "# MEMBER: who runs the application, for example serviceAccount:name@project.iam.gserviceaccount.com",
        "set -eu",
        ': "${LOCATION:?}" "${MEMBER:?}"',
        "",
        f"gcloud firestore databases describe {where} > /dev/null 2>&1 ||",
        f'  gcloud firestore databases create {where} --location="$LOCATION" --type=firestore-native',
        "",
        "# No query asks for these.",
    ]
    lines += [
        f"gcloud firestore indexes fields update {field} {where} --collection-group={quote(collection)} "
        # Both settings of one field: the first has to be done.
        f"--disable-indexes{'' if field == 'ttl' else ' --async'} --quiet"
        for collection, field in exempt
    ]
    lines += ["", "# What has long ended or expired is deleted."]
    lines += [
        f"gcloud firestore fields ttls update ttl {where} --collection-group={quote(collection)} "
        "--enable-ttl --async --quiet"
        for collection in collections
    ]
    role = _role(database, collections)
    condition = f'expression=resource.name=="projects/{project}/databases/{database}",title={role}'
    lines += [
        "",
        "# What the application may do: read and write documents of this database.",
        f"gcloud iam roles describe {role} --project={quote(project)} > /dev/null 2>&1 ||",
        f"  gcloud iam roles create {role} --project={quote(project)} --title='Holdfast sessions' \\",
        f"    --permissions={','.join(_PERMISSIONS)}",
        f'gcloud projects add-iam-policy-binding {quote(project)} --member="$MEMBER" \\',
        f"  --role=projects/{quote(project)}/roles/{role} --condition={quote(condition)}",
    ]
    return "\n".join([*lines, ""])


def terraform(project: str, database: str, exempt: Fields, collections: Sequence[str]) -> str:
    """Resources for the provider hashicorp/google."""
    parts = [
        'variable "location" {\n  type        = string\n'
        '  description = "Where the database is created; it cannot be moved later."\n}\n',
        'variable "member" {\n  type        = string\n'
        '  description = "Who runs the application: serviceAccount:name@project.iam.gserviceaccount.com"\n}\n',
        'resource "google_firestore_database" "sessions" {\n'
        f'  project                 = "{project}"\n'
        f'  name                    = "{database}"\n'
        "  location_id             = var.location\n"
        '  type                    = "FIRESTORE_NATIVE"\n'
        '  delete_protection_state = "DELETE_PROTECTION_ENABLED"\n}\n',
    ]
    for collection, field in exempt:
        place = "live" if collection == collections[0] else "ended"
        parts.append(
            f'resource "google_firestore_field" "{place}_{field}" {{\n'
            f'  project    = "{project}"\n'
            "  database   = google_firestore_database.sessions.name\n"
            f'  collection = "{in_hcl(collection)}"\n'
            f'  field      = "{field}"\n'
            "  index_config {}\n" + ("  ttl_config {}\n" if field == "ttl" else "") + "}\n"
        )
    role = _role(database, collections)
    permissions = "".join(f'    "{permission}",\n' for permission in _PERMISSIONS)
    parts += [
        'resource "google_project_iam_custom_role" "sessions" {\n'
        f'  project = "{project}"\n'
        f'  role_id = "{role}"\n'
        '  title   = "Holdfast sessions"\n'
        f"  permissions = [\n{permissions}  ]\n}}\n",
        'resource "google_project_iam_member" "sessions" {\n'
        f'  project = "{project}"\n'
        "  role    = google_project_iam_custom_role.sessions.id\n"
        "  member  = var.member\n"
        "  condition {\n"
        f'    title      = "{role}"\n'
        f'    expression = "resource.name == \\"projects/{project}/databases/{database}\\""\n'
        "  }\n}\n",
    ]
    return "\n".join(parts)


def _role(database: str, collections: Sequence[str]) -> str:
    """The role is the whole project's, and a second one of the same id is refused there."""
    beginning = "holdfast__"
    return beginning + one_name(database, collections[0], longest=_LONGEST_ROLE - len(beginning), signs="_")
