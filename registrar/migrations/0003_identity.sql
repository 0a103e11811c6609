-- A voter who signs in at an identity provider is found by her identity; and no two places are one identity's.

CREATE UNIQUE INDEX voter_by_identity ON voter (identity);
