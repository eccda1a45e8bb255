export { credentialFromEnvironment, readCredential } from './own.ts'
export { readGrants, type GrantsFile } from './grants-file.ts'
export { addGrant, makeCredential, removeGrant, writeCredential, type NewGrant } from './make.ts'
