"""Prints the operators of the standard set as the Python package onnx has them: standard.txt is the output for 1.22.0.

One line a version: name, version, inputs, "=>", outputs, ";", attributes. A parameter is name:option:types with option 1 (single), ?
(optional) or * (variadic) and types the hexadecimal set of TensorProto.DataType bits. An attribute is name:kind:default
with kind the number of AttributeProto.AttributeType and ! as the default of a required one.
"""
import onnx

BITS = {"float": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "string": 8, "bool": 9,
        "float16": 10, "double": 11, "uint32": 12, "uint64": 13, "bfloat16": 16}


def param(p):
    types = 0
    for t in p.types:
        types |= 1 << BITS[t[7:-1]] if t[7:-1] in BITS else 0
    option = {"Single": "1", "Optional": "?", "Variadic": "*"}[p.option.name]
    return f"{p.name}:{option}:{types:x}"


def attribute(a):
    if a.required:
        return f"{a.name}:{int(a.type.value)}:!"
    if not a.default_value.name:
        return f"{a.name}:{int(a.type.value)}:"
    v = onnx.helper.get_attribute_value(a.default_value)
    if isinstance(v, (list, tuple)):
        v = ",".join(x.decode() if isinstance(x, bytes) else str(x) for x in v)
    return f"{a.name}:{int(a.type.value)}:{v.decode() if isinstance(v, bytes) else v}"


for s in sorted(onnx.defs.get_all_schemas_with_history(), key=lambda s: (s.name, s.since_version)):
    if s.domain == "" and not s.deprecated:
        print(s.name, s.since_version, *map(param, s.inputs), "=>", *map(param, s.outputs), ";",
              *(attribute(s.attributes[k]) for k in sorted(s.attributes)))
