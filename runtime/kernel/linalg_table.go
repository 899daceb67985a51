package kernel

// linalgTable holds the matrix functions of the domain asdl.
var linalgTable = []Row{}
