module drawbridge

go 1.26.0
