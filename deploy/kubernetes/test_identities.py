"""Who may do what, asked of a server that judges policies: the roles, keys and the published bucket that deploy/aws makes, as a pod or a person has them."""

import unittest

import botocore.exceptions
import stand_in

BUCKET = f"{stand_in.NAME}-published"
SIGN = {"Message": b"x", "SigningAlgorithm": "ED25519_SHA_512", "MessageType": "RAW"}


class Identities(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stand = stand_in.shared()
        # Who may do everything that IAM can give.
        cls.stand.client("iam").put_role_policy(RoleName="operators", PolicyName="all", PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}')

    def denied(self, call, **arguments):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(**arguments)
        self.assertIn("AccessDenied", caught.exception.response["Error"]["Code"])

    def test_a_unit_writes_its_own_files_alone_and_deletes_none(self):
        own = {"cell-0": "cells/0", "cell-1": "cells/1", "registrar-0": "registrars/0/0", "anchor": "heads"}
        for unit, folder in own.items():
            s3 = self.stand.client("s3", credentials=self.stand.credentials(unit))
            s3.list_objects_v2(Bucket=BUCKET)
            for other in own.values():
                # A name that another unit has not written.
                key = f"elections/{'ab' * 32}/{other}/batches/{unit}"
                with self.subTest(f"{unit} in {other}"):
                    if other == folder:
                        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x", IfNoneMatch="*")
                        self.denied(s3.delete_object, Bucket=BUCKET, Key=key)
                    else:
                        self.denied(s3.put_object, Bucket=BUCKET, Key=key, Body=b"x", IfNoneMatch="*")
            s3.put_object(Bucket=BUCKET, Key=f"probe/{unit}", Body=b"x", IfNoneMatch="*")
            s3.delete_object(Bucket=BUCKET, Key=f"probe/{unit}")
        s3 = self.stand.client("s3", credentials=self.stand.credentials("tally"))
        s3.put_object(Bucket=BUCKET, Key=f"elections/{'ab' * 32}/results.json", Body=b"x", IfNoneMatch="*")
        for key in ("cells/0/checkpoint", "heads/checkpoint"):
            self.denied(s3.put_object, Bucket=BUCKET, Key=f"elections/{'ab' * 32}/{key}", Body=b"x")
        self.denied(s3.put_object, Bucket=BUCKET, Key="probe/tally", Body=b"x")

    def test_who_may_do_everything_deletes_no_file_and_signs_nothing(self):
        everything = self.stand.person("operators")
        s3, kms = self.stand.client("s3", credentials=everything), self.stand.client("kms", credentials=everything)
        key = f"elections/{'cd' * 32}/manifest.json"
        version = s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")["VersionId"]
        self.denied(s3.delete_object, Bucket=BUCKET, Key=key)
        self.denied(s3.delete_object, Bucket=BUCKET, Key=key, VersionId=version)
        for name in self.stand.keys.values():
            self.denied(kms.sign, KeyId=name, **SIGN)
            self.denied(kms.put_key_policy, KeyId=name, PolicyName="default", Policy="{}")

    def test_the_bucket_is_closed_to_plain_http(self):
        """As the stand-in is reached: with the policy as the template has it, nothing goes."""
        s3 = self.stand.client("s3", credentials=self.stand.credentials("cell-0"))
        s3.list_objects_v2(Bucket=BUCKET)
        self.stand.without()
        self.addCleanup(self.stand.without, *self.stand.BEYOND)
        self.denied(s3.list_objects_v2, Bucket=BUCKET)

    def test_each_key_signs_for_its_own_unit(self):
        units = {"cell-0": "cell-0", "cell-1": "cell-1", "registrar-0": "issuance-0-0", "anchor": "heads"}
        for unit, log in units.items():
            kms = self.stand.client("kms", credentials=self.stand.credentials(unit))
            for (other, which), key in self.stand.keys.items():
                with self.subTest(f"{unit}: {which} key of {other}"):
                    if other != log:
                        self.denied(kms.sign, KeyId=key, **SIGN)
                    elif which == "main":
                        self.assertEqual(len(kms.sign(KeyId=key, **SIGN)["Signature"]), 64)
                    else:
                        # Disabled until a switch; its public half is shown, so that a start can compare it.
                        with self.assertRaises(kms.exceptions.DisabledException):
                            kms.sign(KeyId=key, **SIGN)

    def test_a_units_role_signs_nothing_from_outside_the_network(self):
        kms = self.stand.client("kms", credentials=self.stand.credentials("cell-0"))
        name = self.stand.keys["cell-0", "main"]
        kms.sign(KeyId=name, **SIGN)
        self.addCleanup(self.stand.policy_of, name, self.stand.client("kms").get_key_policy(KeyId=name, PolicyName="default")["Policy"])
        self.stand.policy_of(name, self.stand.inside["cell-0", "main"])
        self.denied(kms.sign, KeyId=name, **SIGN)

    def test_the_ceremony_is_over_and_administrators_do_not_use_keys(self):
        for person in ("ceremony", "key-administrators"):
            kms = self.stand.client("kms", credentials=self.stand.person(person))
            for key in self.stand.keys.values():
                self.denied(kms.sign, KeyId=key, **SIGN)
            self.denied(kms.encrypt, KeyId=self.stand.wrapping, Plaintext=b"x")
            self.denied(kms.decrypt, KeyId=self.stand.wrapping, CiphertextBlob=b"x")
        kms.describe_key(KeyId=self.stand.keys["heads", "main"])

    def test_only_the_units_own_service_account_takes_its_role(self):
        for unit, account in (("cell-0", "default"), ("tally", "other")):
            self.denied(self.stand.credentials, unit=unit, account=account)

    def test_a_unit_reads_its_own_secrets_alone(self):
        name = f"{stand_in.NAME}/registrar-0/code.key"
        self.stand.client("secretsmanager").create_secret(Name=name, SecretBinary=b"x")
        for unit in ("registrar-0", "cell-0", "anchor", "tally"):
            secrets = self.stand.client("secretsmanager", credentials=self.stand.credentials(unit))
            if unit == "registrar-0":
                self.assertEqual(secrets.get_secret_value(SecretId=name)["SecretBinary"], b"x")
            else:
                self.denied(secrets.get_secret_value, SecretId=name)


if __name__ == "__main__":
    unittest.main()
