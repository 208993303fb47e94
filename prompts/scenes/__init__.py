"""Scenes and the sentences that say them, and what a sentence leaves true."""

__all__ = ["claims", "clauses", "draft_text", "drawer", "draws", "entailment", "ontology", "own_ontology",
           "paraphrases", "scene", "sentences", "wording"]
