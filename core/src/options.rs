//! How the structs of options and configurations are made.

/// A struct whose fields can be read and changed, with its defaults, and a method of each field's name that sets it,
/// so that a value is made in one expression and more fields can come.
macro_rules! options {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$doc:meta])* $field:ident: $kind:ty = $value:expr,)*
    }) => {
        $(#[$meta])*
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $value,)* }
            }
        }

        impl $name {
            /// The defaults.
            pub fn new() -> Self {
                Self::default()
            }

            $crate::options::setters! { $($(#[$doc])* $field: $kind,)* }
        }
    };
}

/// The methods that set fields, for a type that has no defaults of all of them.
macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $kind:ty,)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: $kind) -> Self {
            self.$field = $field;
            self
        })*
    };
}

pub(crate) use {options, setters};
