"""A plan that names images in every place where a plan can."""

PLAN_WITH_IMAGES = """\
---
image: plan:1
---
# Images
## Batch 1: One
### Task 1.1: A
**Run:**
- `true`
### Task 1.2: B
**Image:** task:1
**Run:**
- `true`
### Task 1.3: C
**Status:** completed
**Image:** done:1
**Run:**
- `true`
## Batch 2: Two
**Execution Mode:** local
**Image:** batch:1
### Task 2.1: D
**Run:**
- `true`
### Task 2.2: E
**Image:** task:1
**Run:**
- `true`
"""
