pub struct Upstream;
