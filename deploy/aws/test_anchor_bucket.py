"""What the template of the anchors' bucket promises, each promise seen to fail when the template is broken."""

import copy
import pathlib
import unittest

import yaml

TEMPLATE = yaml.safe_load((pathlib.Path(__file__).parent / "anchor-bucket.yaml").read_text())
PUBLIC = {"s3:ListBucket", "s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention"}


def broken(template):
    bucket = template["Resources"]["Bucket"]["Properties"]
    statements = template["Resources"]["Policy"]["Properties"]["PolicyDocument"]["Statement"]
    actions = lambda s: {s["Action"]} if isinstance(s["Action"], str) else set(s["Action"])
    found = set()
    lock = bucket.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
    if not bucket.get("ObjectLockEnabled") or lock.get("Mode") != "COMPLIANCE":
        found.add("lock")
    if bucket.get("VersioningConfiguration") != {"Status": "Enabled"}:
        found.add("versions")
    public = set().union(*(actions(s) for s in statements if s["Effect"] == "Allow" and s["Principal"] == "*"))
    if public != PUBLIC:
        found.add("public")
    denied = set().union(*(actions(s) for s in statements if s["Effect"] == "Deny" and s["Principal"] == "*" and "Condition" not in s))
    if not {"s3:DeleteObject", "s3:DeleteObjectVersion"} <= denied:
        found.add("delete")
    conditions = {(code, action): s["Condition"] for s in statements if s["Effect"] == "Deny" and s["Principal"] == "*" for action in actions(s) for code in [s["Sid"]]
                  if s["Resource"] == {"Fn::Sub": "${Bucket.Arn}/*"} and "Condition" in s}
    weak = {"NumericLessThan": {"s3:object-lock-remaining-retention-days": {"Ref": "MinimumRetentionDays"}}}
    wanted = {("OnlyOnce", "s3:PutObject"): {"Null": {"s3:if-none-match": "true"}}, ("OnlyLocked", "s3:PutObject"): {"StringNotEquals": {"s3:object-lock-mode": "COMPLIANCE"}},
              ("OnlyForLong", "s3:PutObject"): weak, ("OnlyForLong", "s3:PutObjectRetention"): weak}
    if conditions != wanted:
        found.add("writes")
    return found


class AnchorBucket(unittest.TestCase):
    def test_promises(self):
        self.assertEqual(broken(TEMPLATE), set())

    def test_each_promise_fails_when_broken(self):
        def governance(b, s): b["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] = "GOVERNANCE"
        def suspended(b, s): b["VersioningConfiguration"]["Status"] = "Suspended"
        def writes(b, s): s[1]["Action"].append("s3:PutObject")
        def hidden(b, s): s[0]["Action"].remove("s3:ListBucketVersions")
        def of(s, sid): return next(it for it in s if it["Sid"] == sid)
        def deletes(b, s): of(s, "NobodyDeletes")["Action"].remove("s3:DeleteObjectVersion")
        def weaker(b, s): of(s, "OnlyLocked")["Condition"]["StringNotEquals"]["s3:object-lock-mode"] = "GOVERNANCE"
        def shorter(b, s): of(s, "OnlyForLong")["Action"].remove("s3:PutObject")
        def twice(b, s): s.remove(of(s, "OnlyOnce"))
        for mutate, code in ((governance, "lock"), (suspended, "versions"), (writes, "public"), (hidden, "public"), (deletes, "delete"),
                             (weaker, "writes"), (shorter, "writes"), (twice, "writes")):
            template = copy.deepcopy(TEMPLATE)
            r = template["Resources"]
            mutate(r["Bucket"]["Properties"], r["Policy"]["Properties"]["PolicyDocument"]["Statement"])
            with self.subTest(mutate.__name__):
                self.assertEqual(broken(template), {code})


if __name__ == "__main__":
    unittest.main()
