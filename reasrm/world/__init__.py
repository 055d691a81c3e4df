"""The sandbox world: prompts, responses, labels, critiques and rubrics whose truth is computed, not collected."""
