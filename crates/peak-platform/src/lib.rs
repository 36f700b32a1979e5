//! What the clients of the Peak services share: sessions, errors by status, pages, forms.
