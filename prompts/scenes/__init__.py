"""Scenes and the sentences that say them, and what a sentence leaves true."""

__all__ = ["claims", "clauses", "drawer", "draws", "entailment", "ontology", "paraphrases", "scene", "sentences",
           "wording"]
