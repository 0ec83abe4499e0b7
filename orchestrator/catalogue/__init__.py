"""What can be swept, for people and for programs: the list, the counts of one configuration, the JSON Schema."""

from orchestrator.catalogue.counting import CountError, CountReport, count_configuration
from orchestrator.catalogue.listing import list_catalogue
from orchestrator.catalogue.schema import schema_text, search_space_schema

__all__ = ["CountError", "CountReport", "count_configuration", "list_catalogue", "schema_text", "search_space_schema"]
