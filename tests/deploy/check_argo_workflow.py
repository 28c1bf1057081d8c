"""Validates a CronWorkflow of Argo, as JSON on stdin, with the models that hera has of Argo's API.

The models accept unknown keys, so what they understood must be the whole document.
"""

import json
import sys

from hera.workflows.models import CronWorkflow
from pydantic import ValidationError

document = json.load(sys.stdin)
try:
    understood = CronWorkflow.model_validate(document)
except ValidationError as error:
    sys.exit(str(error))
dumped = understood.model_dump(mode="json", by_alias=True, exclude_unset=True)
if dumped != document:
    sys.exit(f"Argo does not know all of this: {json.dumps(dumped)}")
