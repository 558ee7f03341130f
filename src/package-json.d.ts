/** For the build, which takes no JSON file from outside of src. The version is read from package.json when the program runs. */
declare module '*/package.json' {
  const manifest: { readonly version: string };
  export default manifest;
}
