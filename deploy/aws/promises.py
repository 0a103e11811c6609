"""For tests: what the templates promise together, each promise a function of all of them that says whether it holds."""

import ipaddress
import json
import pathlib
import re
import tomllib

import yaml

HERE = pathlib.Path(__file__).parent


def load():
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(HERE.glob("*.yaml"))}


def stacks():
    return tomllib.loads((HERE / "stacks.toml").read_text())["stack"]


def resources(templates, *kinds):
    """(template, name, properties) of all resources of these types."""
    return [(template, name, it.get("Properties", {})) for template, content in templates.items() for name, it in content["Resources"].items() if it["Type"] in kinds]


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(document):
    """All statements, those under a condition too; a document that is a text is parsed."""
    if isinstance(document, dict) and "Fn::Sub" in document:
        document = json.loads(document["Fn::Sub"][0])
    yield from branches(document["Statement"])


def branches(values):
    """What a list holds, whatever its conditions say."""
    for it in values:
        yield from [branch for branch in it["Fn::If"][1:] if branch != {"Ref": "AWS::NoValue"}] if "Fn::If" in it else [it]


def text(value):
    return json.dumps(value, sort_keys=True)


def kept(templates):
    """Keys, buckets and databases outlive their stacks."""
    found = [(it.get("DeletionPolicy"), it.get("UpdateReplacePolicy")) for content in templates.values() for it in content["Resources"].values()
             if it["Type"] in ("AWS::KMS::Key", "AWS::S3::Bucket", "AWS::RDS::DBCluster")]
    return all(policy in (("Retain", "Retain"), ("Snapshot", "Snapshot")) for policy in found)


def encrypted(templates):
    """Every store under a key of ours; but anchors, which anybody reads (decision 0018)."""
    for template, _, it in resources(templates, "AWS::S3::Bucket"):
        [rule] = it["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        by = rule["ServerSideEncryptionByDefault"]
        if template == "anchor-bucket":
            if by != {"SSEAlgorithm": "AES256"}:
                return False
        elif by["SSEAlgorithm"] != "aws:kms" or "Ref" not in by.get("KMSMasterKeyID", {}):
            return False
    for _, _, it in resources(templates, "AWS::RDS::DBCluster"):
        if it.get("StorageEncrypted") is not True or "Ref" not in it.get("KmsKeyId", {}) or "KmsKeyId" not in it.get("MasterUserSecret", {}):
            return False
    for _, _, it in resources(templates, "AWS::EC2::LaunchTemplate"):
        for disk in it["LaunchTemplateData"]["BlockDeviceMappings"]:
            if disk["Ebs"].get("Encrypted") is not True or "Ref" not in disk["Ebs"].get("KmsKeyId", {}):
                return False
    clusters = resources(templates, "AWS::EKS::Cluster")
    return all("Ref" in it.get("EncryptionConfig", [{"Provider": {"KeyArn": {}}}])[0]["Provider"]["KeyArn"] for _, _, it in clusters)


def nothing_deleted(templates):
    """No file of a bucket, by anybody: but the probes of the published one. Nor by a rule of its life."""
    policies = {template: it["PolicyDocument"] for template, _, it in resources(templates, "AWS::S3::BucketPolicy")}
    if set(policies) != {template for template, _, _ in resources(templates, "AWS::S3::Bucket")}:
        return False
    for template, document in policies.items():
        denied = {}
        for it in statements(document):
            if it["Effect"] == "Deny" and it["Principal"] == "*" and "Condition" not in it:
                for action in listed(it["Action"]):
                    denied[action] = text(it.get("Resource", {"Not": it.get("NotResource")}))
        everything = text({"Fn::Sub": "${Bucket.Arn}/*"})
        but_probes = text({"Not": {"Fn::Sub": "${Bucket.Arn}/probe/*"}})
        if denied.get("s3:DeleteObjectVersion") != everything or denied.get("s3:DeleteObject") != (but_probes if template == "published-bucket" else everything):
            return False
    for _, _, it in resources(templates, "AWS::S3::Bucket"):
        for rule in it.get("LifecycleConfiguration", {}).get("Rules", []):
            if any(word.startswith(("Expiration", "NoncurrentVersionExpiration")) for word in rule) and rule.get("Prefix") != "probe/":
                return False
        if it.get("VersioningConfiguration") != {"Status": "Enabled"}:
            return False
    return True


def nothing_replaced_blindly(templates):
    """What moves, moves from what it was; all else is created once."""
    wanted = {"Null": {"s3:if-none-match": "true", "s3:if-match": "true"}}
    [(_, _, it)] = [found for found in resources(templates, "AWS::S3::BucketPolicy") if found[0] == "published-bucket"]
    denied = [it for it in statements(it["PolicyDocument"]) if it["Effect"] == "Deny" and it["Principal"] == "*" and listed(it["Action"]) == ["s3:PutObject"]]
    moves = [{"Fn::Sub": f"${{Bucket.Arn}}/{path}"} for path in ("elections/*/checkpoint", "elections/*/results.json", "probe/*")]
    return any(it.get("Condition") == wanted and it.get("Resource") == {"Fn::Sub": "${Bucket.Arn}/*"} for it in denied) and \
        any(it.get("Condition") == {"Null": {"s3:if-none-match": "true"}} and it.get("NotResource") == moves for it in denied)


PUBLIC = {"s3:ListBucket", "s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention"}


def no_public_writes(templates):
    """Anybody may read anchors and list them, and nothing else is anybody's; CloudFront reads the published files."""
    for template, _, it in resources(templates, "AWS::S3::BucketPolicy"):
        for statement in statements(it["PolicyDocument"]):
            if statement["Effect"] != "Allow":
                continue
            actions = set(listed(statement["Action"]))
            if statement["Principal"] == "*" and not (template == "anchor-bucket" and actions <= PUBLIC):
                return False
            if statement["Principal"] == {"Service": "cloudfront.amazonaws.com"} and not (actions <= {"s3:GetObject", "s3:ListBucket"} and "AWS:SourceArn" in text(statement["Condition"])):
                return False
    [(_, _, published)] = [found for found in resources(templates, "AWS::S3::Bucket") if found[0] == "published-bucket"]
    return set(published["PublicAccessBlockConfiguration"].values()) == {True} and \
        all(it["PublicAccessBlockConfiguration"]["BlockPublicAcls"] and it["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]} for _, _, it in resources(templates, "AWS::S3::Bucket"))


def only_by_tls(templates):
    """Buckets, databases, listeners and what is behind them, CloudFront and its ways."""
    for _, _, it in resources(templates, "AWS::S3::BucketPolicy"):
        denials = [statement for statement in statements(it["PolicyDocument"]) if statement["Effect"] == "Deny" and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}]
        if not denials or denials[0]["Action"] != "s3:*":
            return False
    if any(it.get("Parameters") != {"rds.force_ssl": "1"} for _, _, it in resources(templates, "AWS::RDS::DBClusterParameterGroup")):
        return False
    for _, _, it in resources(templates, "AWS::ElasticLoadBalancingV2::Listener"):
        if it["Protocol"] != "HTTPS" or "TLS13" not in it["SslPolicy"]:
            return False
    if any(it["Protocol"] != "HTTPS" for _, _, it in resources(templates, "AWS::ElasticLoadBalancingV2::TargetGroup")):
        return False
    if any(it["VpcOriginEndpointConfig"]["OriginProtocolPolicy"] != "https-only" for _, _, it in resources(templates, "AWS::CloudFront::VpcOrigin")):
        return False
    for _, _, it in resources(templates, "AWS::CloudFront::Distribution"):
        config = it["DistributionConfig"]
        behaviours = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]]
        # What is posted is never sent in the open first.
        if any(b["ViewerProtocolPolicy"] != ("https-only" if "POST" in b["AllowedMethods"] else b["ViewerProtocolPolicy"]) or b["ViewerProtocolPolicy"] == "allow-all" for b in behaviours):
            return False
        if config["ViewerCertificate"]["MinimumProtocolVersion"] != "TLSv1.2_2021":
            return False
    return True


def signs_alone(templates):
    """A log's key: its own role signs, the administrators manage and do not sign, and no policy of IAM can add anybody. A ceremony's role goes with its parameter."""
    [(_, _, key)] = [found for found in resources(templates, "AWS::KMS::Key") if found[0] == "log-key"]
    if key["KeySpec"] != "ECC_NIST_EDWARDS25519" or key["KeyUsage"] != "SIGN_VERIFY":
        return False
    signers = set()
    for it in statements(key["KeyPolicy"]):
        who, actions = it["Principal"].get("AWS"), set(listed(it["Action"]))
        if not (isinstance(who, dict) and set(who) == {"Ref"}) or any("*" in action for action in actions):
            return False
        if "kms:Sign" in actions:
            signers.add(who["Ref"])
            # From inside the network; the ceremony and the authority are at machines of their own.
            if who["Ref"] == "SigningRoleArn" and it.get("Condition") != {"Fn::If": ["IsInside", {"StringEquals": {"aws:SourceVpc": {"Ref": "NetworkId"}}}, {"Ref": "AWS::NoValue"}]}:
                return False
    if not {"Apart", "Inside"} <= set(templates["log-key"]["Rules"]):
        return False
    in_ceremony = [it for it in key["KeyPolicy"]["Statement"] if "Fn::If" in it and it["Fn::If"][0] == "InCeremony"]
    # To sign is given by keys alone: no role has it.
    elsewhere = [it for _, _, it in resources(templates, "AWS::IAM::Role")]
    return signers == {"SigningRoleArn", "CeremonyRoleArn"} and len(in_ceremony) == 1 and "kms:Sign" not in text(elsewhere) and "kms:*" not in text(elsewhere)


def unwraps_its_own(templates):
    [(_, _, key)] = [found for found in resources(templates, "AWS::KMS::Key") if found[0] == "wrapping-key"]
    for it in statements(key["KeyPolicy"]):
        who, actions = it["Principal"].get("AWS"), set(listed(it["Action"]))
        if not (isinstance(who, dict) and set(who) == {"Ref"}) or any("*" in action for action in actions):
            return False
        if "kms:Decrypt" in actions and (who["Ref"] != "RegistrarRoleArn" or set(it.get("Condition", {}).get("StringEquals", {})) != {"kms:EncryptionContext:tallyroot-registrar", "aws:SourceVpc"}):
            return False
    return text(templates["wrapping-key"].get("Rules", {}).get("Apart")).count("AdminRoleArn") == 2


def stores_open_through_stores(templates):
    """The account, as IAM has it, uses a store's key through that store and in no other way; the administrators do not use it."""
    for template, _, it in resources(templates, "AWS::KMS::Key"):
        if template != "store-keys":
            continue
        for statement in statements(it["KeyPolicy"]):
            who, actions = text(statement["Principal"]), listed(statement["Action"])
            if ":root" in who and "kms:ViaService" not in text(statement.get("Condition")):
                return False
            if "AdminRoleArn" in who and any(action in ("kms:Decrypt", "kms:Encrypt", "kms:*") for action in actions):
                return False
        if not it["EnableKeyRotation"]:
            return False
    return True


def watched(templates):
    """Whoever changes the policy of a key or a bucket, or silences this, is seen by others."""
    found = templates["watch"]["Resources"]
    names = {name for either in found["Changed"]["Properties"]["EventPattern"]["detail"]["$or"] for name in either["eventName"]}
    wanted = {"PutKeyPolicy", "CreateGrant", "EnableKey", "PutBucketPolicy", "DeleteBucketPolicy", "PutBucketLifecycle", "UpdateAssumeRolePolicy", "CreateAccessEntry", "DeleteRule", "StopLogging"}
    [target] = found["Changed"]["Properties"]["Targets"]
    return wanted <= names and target["Arn"] == {"Ref": "Watchers"} and "Subscription" in found["Watchers"]["Properties"] and found["Watchers"]["Properties"].get("KmsMasterKeyId") == {"Ref": "Key"} and \
        found["Changed"]["Properties"].get("State", "ENABLED") == "ENABLED"


def edges(templates):
    """Who may open a connection to whom: (from, to, protocol, ports), where both sides say so."""
    out, into = set(), set()
    for _, _, it in resources(templates, "AWS::EC2::SecurityGroupEgress"):
        if "DestinationSecurityGroupId" in it:
            out.add((it["GroupId"]["Ref"], it["DestinationSecurityGroupId"]["Ref"], it["IpProtocol"], it.get("FromPort"), it.get("ToPort")))
    for _, _, it in resources(templates, "AWS::EC2::SecurityGroupIngress"):
        if "SourceSecurityGroupId" in it:
            into.add((it["SourceSecurityGroupId"]["Ref"], it["GroupId"]["Ref"], it["IpProtocol"], it.get("FromPort"), it.get("ToPort")))
    return out, into


def to_provider(templates, name, block):
    """A way for registrars to what the operator named, which is small, and not there where nothing is named."""
    network = templates["network"]
    given = network["Parameters"]["ProviderBlock"]
    return block == {"Ref": "ProviderBlock"} and network["Resources"][name].get("Condition") == "HasProvider" and given["Default"] == "" and \
        re.fullmatch(given["AllowedPattern"], "203.0.113.0/24") is not None and not any(re.fullmatch(given["AllowedPattern"], it) for it in ("0.0.0.0/0", "203.0.0.0/16", "203.0.113.0/23"))


APART = {"CellNodes", "RegistrarNodes", "CellsFront", "RegistrarsFront"}


def apart(templates):
    """Registrars and cells reach each other neither by a group nor by an address nor by a way out, whichever side allows it."""
    out, into = edges(templates)
    for rules in (out, into):
        for source, target, *_ in rules:
            if "Cell" in source and "Registrar" in target or "Registrar" in source and "Cell" in target:
                return False
    for _, name, it in resources(templates, "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress"):
        if it["GroupId"]["Ref"] in APART and any(word.startswith("Cidr") for word in it) and not (it["GroupId"] == {"Ref": "RegistrarNodes"} and to_provider(templates, name, it.get("CidrIp")) and it["FromPort"] == it["ToPort"] == 443):
            return False
    for template, name, it in resources(templates, "AWS::EC2::SecurityGroup"):
        # Without a rule of its own a group lets everything out.
        if it.get("SecurityGroupEgress") != [{"IpProtocol": "-1", "CidrIp": "127.0.0.1/32"}]:
            return False
        for rule in it.get("SecurityGroupIngress", []):
            if template != "database" or rule["SourceSecurityGroupId"] != {"Ref": "Nodes"}:
                return False
    # Their subnets have no route out, but the registrars' to their provider.
    for _, _, it in resources(templates, "AWS::EC2::SubnetRouteTableAssociation"):
        subnet = it["SubnetId"]["Ref"]
        if subnet.startswith(("Cells", "Registrars", "LoadBalancers", "Databases")) and it["RouteTableId"] != {"Ref": f"Provider{subnet[-1]}" if subnet.startswith("Registrars") else "Closed"}:
            return False
    for _, name, it in resources(templates, "AWS::EC2::Route"):
        if it["RouteTableId"]["Ref"].startswith("Provider") and not to_provider(templates, name, it["DestinationCidrBlock"]):
            return False
    return not any(it["RouteTableId"] == {"Ref": "Closed"} for _, _, it in resources(templates, "AWS::EC2::Route")) and \
        not any(it["Properties"].get("SourcePrefixListId") and not name.endswith("FrontFromCloudFront") for name, it in templates["network"]["Resources"].items() if it["Type"].endswith("Ingress"))


def no_way_out(templates):
    """By AWS's endpoints, what is of this account, as somebody of it; and no name is asked for but AWS's and those that are given."""
    account = {"Ref": "AWS::AccountId"}
    # Roles are taken before anybody is somebody; layers are fetched by what the registry signed; add-ons are AWS's own; anchors are in accounts of their own.
    named = {"PodsTakeTheirRoles": "role/${Name}-*", "Images": "-starport-layer-bucket/*", "Addons": "${AddonsAccount}:repository/*", "Anchors": "AnchorBuckets", "AnchorsObjects": "AnchorObjects"}
    own_resources = {"KmsEndpoint", "SecretsEndpoint", "RegistryEndpoint", "ImagesEndpoint", "StorageEndpoint"}
    for _, name, it in resources(templates, "AWS::EC2::VPCEndpoint"):
        for statement in it.get("PolicyDocument", {"Statement": [{}]})["Statement"]:
            sid, equal = statement.get("Sid"), statement.get("Condition", {}).get("StringEquals", {})
            if sid in named and named[sid] not in text(statement["Resource"]):
                return False
            if sid not in ("PodsTakeTheirRoles", "Images") and equal.get("aws:PrincipalAccount") != account:
                return False
            if sid == "OurOwn" and name in own_resources and equal.get("aws:ResourceAccount") != account:
                return False
    network = templates["network"]["Resources"]
    rules = [(it["Action"], it["FirewallDomainListId"]["Ref"]) for it in sorted(network["NamesRules"]["Properties"]["FirewallRules"], key=lambda it: it["Priority"])]
    return rules == [("ALLOW", "NamesAllowed"), ("ALLOW", "NamesAllowedOutside"), ("BLOCK", "NamesAll")] and network["NamesAll"]["Properties"]["Domains"] == ["*"] and \
        network["NamesAllowed"]["Properties"]["Domains"] == ["*.amazonaws.com", "*.compute.internal", "*.ec2.internal"] and \
        network["NamesGuarded"]["Properties"]["FirewallRuleGroupId"] == {"Ref": "NamesRules"}


def operators_without_keys(templates):
    """Who looks after the cluster every day is in a group of Kubernetes with few rights; who can change what runs is given for as long as it takes. Policies hold from a pod's first moment, where that is asked for."""
    cluster = templates["cluster"]["Resources"]
    operator, installer = cluster["Operator"]["Properties"], cluster["Installer"]
    entries = resources(templates, "AWS::EKS::AccessEntry")
    return len(entries) == 2 and "AccessPolicies" not in operator and operator["KubernetesGroups"] == ["tallyroot-operators"] and \
        installer.get("Condition") == "IsInstalling" and templates["cluster"]["Parameters"]["InstallerRoleArn"].get("Default") == "" and \
        cluster["Cluster"]["Properties"]["AccessConfig"] == {"AuthenticationMode": "API", "BootstrapClusterCreatorAdminPermissions": False} and \
        all("aws:SourceVpc" in text(cluster[role]["Properties"]["AssumeRolePolicyDocument"]) for role in ("VolumesRole", "RoutesRole")) and \
        'NETWORK_POLICY_ENFORCING_MODE": "${PolicyEnforcement}"' in cluster["Network"]["Properties"]["ConfigurationValues"]["Fn::Sub"]


def own_nodes(templates):
    """Each kind of node has its security group, its subnets in three zones, its label; cells and registrars admit nothing else."""
    wanted = {"cells": ("CellTemplate", "CellNodes", "CellsSubnets"), "registrars": ("RegistrarTemplate", "RegistrarNodes", "RegistrarsSubnets"), "services": ("ServiceTemplate", "ServiceNodes", "ServicesSubnets")}
    found = {}
    for _, _, it in resources(templates, "AWS::EKS::Nodegroup"):
        part = it["Labels"]["tallyroot/part"]
        template, group, subnets = wanted[part]
        data = templates["cluster"]["Resources"][template]["Properties"]["LaunchTemplateData"]
        [subnet] = it["Subnets"]
        zone, of = subnet["Fn::Select"]
        if it["LaunchTemplate"]["Id"] != {"Ref": template} or data["SecurityGroupIds"] != [{"Ref": group}] or of != {"Ref": subnets}:
            return False
        if data["MetadataOptions"] != {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}:
            return False
        if it.get("Taints", []) != ([] if part == "services" else [{"Key": "tallyroot/part", "Value": part, "Effect": "NO_SCHEDULE"}]):
            return False
        found.setdefault(part, []).append(zone)
    return {part: sorted(zones) for part, zones in found.items()} == {part: [0, 1, 2] for part in wanted}


OWN = {"IsCell": ["cells/${Index}/*"], "IsRegistrar": ["registrars/${Index}/*"], "IsAnchor": ["heads/*", "anchors/*"], "IsTally": ["results.json"]}


def least_privilege(templates):
    """A unit's role is taken by its own service account alone, and writes its own files alone. Roles hold their policies themselves."""
    if resources(templates, "AWS::IAM::RolePolicy", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        return False
    unit = templates["unit-role"]["Resources"]
    [trust] = statements(unit["Role"]["Properties"]["AssumeRolePolicyDocument"])
    equal = trust["Condition"]["StringEquals"]
    if trust["Action"] != "sts:AssumeRoleWithWebIdentity" or equal != {"aws:SourceVpc": "${NetworkId}", "${IdentitiesIssuer}:aud": "sts.amazonaws.com", "${IdentitiesIssuer}:sub": "system:serviceaccount:${Name}-${Unit}:service"}:
        return False
    written = {}
    granted = {it["PolicyName"]: it["PolicyDocument"] for it in branches(unit["Role"]["Properties"]["Policies"])}
    for it in statements(granted["published"]):
        actions = set(listed(it["Action"]))
        if actions & {"s3:DeleteObjectVersion", "s3:PutBucketPolicy", "s3:*", "*"}:
            return False
        if it["Sid"] == "WritesItsOwn":
            for place in it["Resource"]:
                condition, found, none = place["Fn::If"]
                written.setdefault(condition, []).append(found["Fn::Sub"].partition("/elections/*/")[2])
        elif actions & {"s3:PutObject", "s3:DeleteObject"} and not text(it["Resource"]).endswith('/probe/*"}'):
            return False
    if written != OWN or not text(granted["secrets"]).count(":secret:${Name}/${Unit}/*") == 1:
        return False
    for _, _, it in resources(templates, "AWS::IAM::Role"):
        for document in (policy["PolicyDocument"] for policy in branches(it.get("Policies", []))):
            for statement in statements(document):
                actions = listed(statement["Action"])
                # What only looks may look at all; whatever changes something names what.
                looks = all(re.match(r"[a-z0-9]+:(Describe|List|Get)", action) for action in actions)
                if any(action.endswith(":*") or action == "*" for action in actions) or statement["Resource"] == "*" and not looks:
                    return False
    return True


def private_edge(templates):
    """CloudFront and load balancers keep no logs and no samples, pass on nothing of who asks, and cannot be passed by."""
    [(_, _, rules)] = resources(templates, "AWS::WAFv2::WebACL")
    if any(it["VisibilityConfig"]["SampledRequestsEnabled"] for it in [rules, *rules["Rules"]]):
        return False
    [(_, _, site)] = resources(templates, "AWS::CloudFront::Distribution")
    config = site["DistributionConfig"]
    if "Logging" in config or config.get("WebACLId") != {"Fn::GetAtt": ["Rules", "Arn"]}:
        return False
    [(_, _, bare)] = resources(templates, "AWS::CloudFront::OriginRequestPolicy")
    if bare["OriginRequestPolicyConfig"]["HeadersConfig"] != {"HeaderBehavior": "whitelist", "Headers": ["Content-Type", "Last-Event-ID"]} or bare["OriginRequestPolicyConfig"]["CookiesConfig"] != {"CookieBehavior": "none"}:
        return False
    if any(it.get("OriginRequestPolicyId") != {"Ref": "Bare"} for it in config["CacheBehaviors"]):
        return False
    balancers = resources(templates, "AWS::ElasticLoadBalancingV2::LoadBalancer")
    for _, _, it in balancers:
        attributes = {a["Key"]: a["Value"] for a in it["LoadBalancerAttributes"]}
        if it["Scheme"] != "internal" or attributes["access_logs.s3.enabled"] != "false" or attributes["routing.http.xff_header_processing.mode"] != "remove" or int(attributes["idle_timeout.timeout_seconds"]) <= 60:
            return False
    return len(balancers) == 3


def limited(templates):
    """Rate rules: for casts, for registrars, for all."""
    [(_, _, rules)] = resources(templates, "AWS::WAFv2::WebACL")
    limits = {rule["Name"]: rule["Statement"].get("RateBasedStatement", {}).get("Limit") for rule in rules["Rules"] if "Block" in rule["Action"]}
    return limits == {"cast": {"Ref": "CastLimit"}, "sign-in": {"Ref": "SignInLimit"}, "all": {"Ref": "AllLimit"}}


def agreed(templates):
    """Every parameter is in the contract, and what it says to come from an output comes from one."""
    before = {}
    for stack in stacks():
        content = templates.get(stack["template"])
        if content is None or set(content.get("Parameters", {})) - set(stack["parameters"]) - {name for name, it in content["Parameters"].items() if "Default" in it}:
            return False
        for name, source in stack["parameters"].items():
            if name not in content["Parameters"]:
                return False
            for output in [] if source == "given" else source.split():
                template, _, wanted = output.partition(".")
                if wanted not in before.get(template, ()):
                    return False
        before[stack["template"]] = set(content.get("Outputs", {}))
    return set(before) == set(templates)


def blocks(templates):
    """All subnets, by what they are for, as the smallest block that holds the three of a kind."""
    found = {}
    for name, it in templates["network"]["Resources"].items():
        if it["Type"] == "AWS::EC2::Subnet":
            found.setdefault(name[:-1], []).append(ipaddress.ip_network(it["Properties"]["CidrBlock"]))
    return found


PROMISES = [kept, encrypted, nothing_deleted, nothing_replaced_blindly, no_public_writes, only_by_tls, signs_alone, unwraps_its_own, stores_open_through_stores, watched, apart, no_way_out, operators_without_keys,
            own_nodes, least_privilege, private_edge, limited, agreed]


def broken(templates):
    return {promise.__name__ for promise in PROMISES if not promise(templates)}
