"""The parts of a `CosmosStore` as Bicep and as Terraform, with the role that an application needs at run time.

The account is there already, and stays as it is: it is where the consistency level is chosen.
"""

from __future__ import annotations

import uuid

from ._names import in_hcl

# Cosmos DB's own roles are for data alone: none of these makes or changes a database or a container. A patch is one of
# the actions that replace.
_ACTIONS = (
    "Microsoft.DocumentDB/databaseAccounts/readMetadata",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/create",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/read",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/replace",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/upsert",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/executeQuery",
)

_BICEP = """\
// Where Holdfast keeps sessions, and the role with which an application gets at them and at nothing else.
// az deployment group create --resource-group GROUP --template-file holdfast.bicep --parameters principalId=ID

@description('The Cosmos DB account, which is there already. Its default consistency should be Strong.')
param accountName string = '<account>'

@description('The object ID of the identity that the application runs as.')
param principalId string

resource account 'Microsoft.DocumentDB/databaseAccounts@2024-11-15' existing = {
  name: accountName
}

resource database 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2024-11-15' = {
  parent: account
  name: '<database>'
  properties: {
    resource: {
      id: '<database>'
    }
  }
}

resource container 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2024-11-15' = {
  parent: database
  name: '<container>'
  properties: {
    resource: {
      id: '<container>'
      partitionKey: {
        paths: [
          '/id'
        ]
        kind: 'Hash'
        version: 2
      }
      defaultTtl: -1
      indexingPolicy: {
        indexingMode: 'consistent'
        automatic: true
        includedPaths: [
          {
            path: '/id/?'
          }
          {
            path: '/o/?'
          }
        ]
        excludedPaths: [
          {
            path: '/*'
          }
        ]
      }
    }
  }
}

resource role 'Microsoft.DocumentDB/databaseAccounts/sqlRoleDefinitions@2024-11-15' = {
  parent: account
  name: guid(account.id, 'holdfast', '<database>', '<container>')
  properties: {
    roleName: 'Holdfast sessions in <database>/<container>'
    type: 'CustomRole'
    assignableScopes: [
      account.id
    ]
    permissions: [
      {
        dataActions: [
<actions>
        ]
      }
    ]
  }
}

resource assignment 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2024-11-15' = {
  parent: account
  name: guid(role.id, principalId)
  properties: {
    roleDefinitionId: role.id
    principalId: principalId
    scope: '${account.id}/dbs/${database.name}/colls/${container.name}'
  }
}
"""

_TERRAFORM = """\
# Where Holdfast keeps sessions, and the role with which an application gets at them and at nothing else.
# For azurerm 4.0 or later.

variable "resource_group_name" {
  type        = string
  description = "The resource group of the Cosmos DB account."
}

variable "principal_id" {
  type        = string
  description = "The object ID of the identity that the application runs as."
}

# It is there already. Its default consistency should be Strong.
data "azurerm_cosmosdb_account" "holdfast" {
  name                = "<account>"
  resource_group_name = var.resource_group_name
}

resource "azurerm_cosmosdb_sql_database" "holdfast" {
  name                = "<database>"
  resource_group_name = var.resource_group_name
  account_name        = data.azurerm_cosmosdb_account.holdfast.name
}

resource "azurerm_cosmosdb_sql_container" "holdfast" {
  name                  = "<container>"
  resource_group_name   = var.resource_group_name
  account_name          = data.azurerm_cosmosdb_account.holdfast.name
  database_name         = azurerm_cosmosdb_sql_database.holdfast.name
  partition_key_paths   = ["/id"]
  partition_key_version = 2
  default_ttl           = -1

  indexing_policy {
    indexing_mode = "consistent"

    included_path {
      path = "/id/?"
    }

    included_path {
      path = "/o/?"
    }

    excluded_path {
      path = "/*"
    }
  }
}

resource "azurerm_cosmosdb_sql_role_definition" "holdfast" {
  name                = "Holdfast sessions in <database>/<container>"
  role_definition_id  = "<role>"
  resource_group_name = var.resource_group_name
  account_name        = data.azurerm_cosmosdb_account.holdfast.name
  type                = "CustomRole"
  assignable_scopes   = [data.azurerm_cosmosdb_account.holdfast.id]

  permissions {
    data_actions = [
<actions>
    ]
  }
}

resource "azurerm_cosmosdb_sql_role_assignment" "holdfast" {
  resource_group_name = var.resource_group_name
  account_name        = data.azurerm_cosmosdb_account.holdfast.name
  role_definition_id  = azurerm_cosmosdb_sql_role_definition.holdfast.id
  principal_id        = var.principal_id
  scope = join("/", [
    data.azurerm_cosmosdb_account.holdfast.id,
    "dbs", azurerm_cosmosdb_sql_database.holdfast.name,
    "colls", azurerm_cosmosdb_sql_container.holdfast.name,
  ])
}
"""


def bicep(account: str, database: str, container: str) -> str:
    """The parts as Bicep."""
    quoted = [
        name.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${")
        for name in (account, database, container)
    ]
    actions = "\n".join(f"          '{action}'" for action in _ACTIONS)
    return _filled(_BICEP, *quoted, actions=actions)


def terraform(account: str, database: str, container: str) -> str:
    """The parts as Terraform's HCL."""
    quoted = map(in_hcl, (account, database, container))
    actions = "\n".join(f'      "{action}",' for action in _ACTIONS)
    # The same whenever it is printed, so that it is no change.
    role = str(uuid.uuid5(uuid.NAMESPACE_URL, f"holdfast:cosmos:{account}/{database}/{container}"))
    return _filled(_TERRAFORM, *quoted, actions=actions, role=role)


def _filled(template: str, account: str, database: str, container: str, **rest: str) -> str:
    names = {"account": account, "database": database, "container": container} | rest
    for name, text in names.items():
        template = template.replace(f"<{name}>", text)
    return template
