package amd64
type vectorFuncs struct{}
var portableVector, avx512Vector, avx2Vector vectorFuncs
